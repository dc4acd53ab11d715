"""Groups of a sensitive column are compared, and what chance would make of them stands beside."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from mlref.core.contract import Contract, parse
from mlref.core.rows import Array, generate
from mlref.core.settings import Evaluate
from mlref.core.task import Prediction
from mlref.evaluation.fairness import fairness
from tests.fakes import CONTRACT, CONTRACT_TEXT

SETTINGS = Evaluate(seed=0, resamples=100, confidence=0.95, folds=3, rows=1000, smallest_slice=15)
SLICED = """\
slices:
  - {column: heating, reason: r}
  - {column: area, edges: [500], reason: r}
  - {column: balcony, edges: [2, 50], reason: r}
"""
ROWS = generate(CONTRACT, 150, seed=0)
ACTUAL = np.random.default_rng(1).uniform(1_000, 9_000, 150)
NOISE = np.random.default_rng(2).normal(0, 100, 150)
OIL = ROWS[:, 2] == 1


def sensitive(*names: str) -> Contract:
    """The rents, where these columns are said to be sensitive."""
    text = CONTRACT_TEXT
    for name in names:
        text = text.replace(f"- name: {name}\n", f"- name: {name}\n    sensitive: true\n")
    return parse(text + SLICED)


def found(contract: Contract, error: Array = NOISE, rows: int = 150) -> dict[str, Any]:
    """What is said of predictions that are off by ``error``, with intervals of ± 200."""
    value = ACTUAL + error
    predicted = Prediction(*(part[:rows] for part in (value, value - 200, value + 200)))
    return fairness(contract, ROWS[:rows], ACTUAL[:rows], predicted, SETTINGS)


def test_only_sensitive_columns_are_compared() -> None:
    """Each with the sizes of its groups and four differences; a null is in no group."""
    assert found(sensitive()) == {}
    told = found(sensitive("heating", "area", "balcony"))
    assert list(told) == ["area", "heating", "balcony"]
    small = int((ROWS[:, 0] < 500).sum())
    assert told["area"]["groups"] == {"area < 500": small, "area ≥ 500": 150 - small}
    assert list(told["balcony"]["groups"]) == ["balcony in [2, 50)", "balcony ≥ 50"]  # 15 and more
    for column in told.values():
        assert set(column["differences"]) == {"rmse", "mae", "bias", "coverage"}
        for difference in column["differences"].values():
            assert set(difference) == {"value", "lower", "upper", "by_chance", "visible"}
            assert difference["by_chance"] < difference["visible"]
            assert 0 <= difference["lower"] <= difference["value"]


def test_the_differences_are_between_the_best_and_the_worst_group() -> None:
    error = NOISE + 80 * OIL
    differences = found(sensitive("heating"), error)["heating"]["differences"]
    groups = [ROWS[:, 2] == code for code in range(3)]
    expected = {
        "rmse": [root_mean_squared_error(ACTUAL[g], (ACTUAL + error)[g]) for g in groups],
        "mae": [mean_absolute_error(ACTUAL[g], (ACTUAL + error)[g]) for g in groups],
        "bias": [error[g].mean() for g in groups],
        "coverage": [(np.abs(error[g]) <= 200).mean() for g in groups],
    }
    for name, values in expected.items():
        assert differences[name]["value"] == pytest.approx(np.ptp(values)), name


def test_a_group_that_is_served_worse_stands_out() -> None:
    """Planted: three times the error for one group; more than chance makes of it."""
    worse = np.where(OIL, 3 * NOISE, NOISE)
    differences = found(sensitive("heating"), worse)["heating"]["differences"]
    for name in ("rmse", "mae", "coverage"):
        assert differences[name]["value"] > differences[name]["by_chance"], name
        assert differences[name]["lower"] > 0


def test_equal_groups_differ_by_what_chance_makes_of_them() -> None:
    """In about 95 of 100 samples the difference stays below."""
    contract, below = sensitive("area"), []
    for seed in range(30):
        told = found(contract, np.random.default_rng(seed).normal(0, 100, 150))["area"]
        below.append(
            told["differences"]["rmse"]["value"] <= told["differences"]["rmse"]["by_chance"]
        )
    assert np.mean(below) == pytest.approx(0.95, abs=0.05)


def test_a_difference_that_is_called_visible_is_seen_in_four_of_five_samples() -> None:
    contract, small = sensitive("area"), ROWS[:, 0] < 500
    errors = np.random.default_rng(4).normal(0, 100, (30, 150))

    def bias(error: Array) -> dict[str, float]:
        return found(contract, error)["area"]["differences"]["bias"]

    larger = np.mean([bias(error)["visible"] for error in errors[:8]])
    told = [bias(error + larger * small) for error in errors]
    seen = [one["value"] > one["by_chance"] for one in told]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.15)


@pytest.mark.parametrize(
    ("column", "rows", "reason"),
    [
        ("rooms", 150, "The contract has no slice of it."),
        ("heating", 20, "It has no two groups of 15 rows and more in the test set."),
    ],
)
def test_a_column_that_cannot_be_compared_says_why(column: str, rows: int, reason: str) -> None:
    told = found(sensitive(column), rows=rows)
    assert told == {column: {"judged": False, "reason": reason}}
