"""Groups of a sensitive column are compared, and what chance would make of them stands beside."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from mlref.bundle.predictor import Prediction
from mlref.core.contract import Contract, parse
from mlref.core.rows import Array, generate
from mlref.core.settings import Evaluate
from mlref.evaluation.fairness import fairness
from tests.fakes import CONTRACT_TEXT

KNOBS = Evaluate(seed=0, resamples=300, confidence=0.95, folds=3, smallest_slice=15)
SLICED = """\
slices:
  - {column: heating, reason: r}
  - {column: area, edges: [500], reason: r}
"""
ROWS = generate(parse(CONTRACT_TEXT), 150, seed=0)
ACTUAL = np.random.default_rng(1).uniform(1_000, 9_000, 150)
NOISE = np.random.default_rng(2).normal(0, 100, 150)
OIL = ROWS[:, 2] == 1


def sensitive(*names: str, slices: str = SLICED) -> Contract:
    """The rents, where these columns are said to be sensitive."""
    text = CONTRACT_TEXT
    for name in names:
        text = text.replace(f"- name: {name}\n", f"- name: {name}\n    sensitive: true\n")
    return parse(text + slices)


def found(contract: Contract, error: Array = NOISE, rows: int = 150) -> dict[str, Any]:
    """What is said of predictions that are off by ``error``, with intervals of ± 200."""
    value = ACTUAL + error
    predicted = Prediction(*(part[:rows] for part in (value, value - 200, value + 200)))
    return fairness(contract, ROWS[:rows], ACTUAL[:rows], predicted, KNOBS)


def test_only_sensitive_columns_are_compared() -> None:
    """Each with the sizes of its groups and four differences."""
    assert found(sensitive()) == {}
    told = found(sensitive("heating", "area"))
    assert list(told) == ["area", "heating"]
    assert told["area"]["groups"] == {
        "area < 500": int((ROWS[:, 0] < 500).sum()), "area ≥ 500": int((ROWS[:, 0] >= 500).sum()),
    }  # fmt: skip
    for column in told.values():
        assert set(column["differences"]) == {"rmse", "mae", "bias", "coverage"}
        for difference in column["differences"].values():
            assert set(difference) == {"value", "lower", "upper", "by_chance"}
            assert 0 <= difference["lower"] <= difference["value"]


def test_the_differences_are_between_the_best_and_the_worst_group() -> None:
    """The figures of each group are scikit-learn's."""
    error = NOISE + 80 * OIL
    differences = found(sensitive("heating"), error)["heating"]["differences"]
    groups = [ROWS[:, 2] == code for code in range(3)]
    for name, metric in (("rmse", root_mean_squared_error), ("mae", mean_absolute_error)):
        figures = [metric(ACTUAL[g], (ACTUAL + error)[g]) for g in groups]
        assert differences[name]["value"] == pytest.approx(max(figures) - min(figures))
    bias = [error[g].mean() for g in groups]
    inside = [(np.abs(error[g]) <= 200).mean() for g in groups]
    assert differences["bias"]["value"] == pytest.approx(np.ptp(bias))
    assert differences["coverage"]["value"] == pytest.approx(np.ptp(inside))


def test_a_group_that_is_served_worse_stands_out() -> None:
    """Planted: three times the error for one group; more than chance makes of it."""
    differences = found(sensitive("heating"), np.where(OIL, 3 * NOISE, NOISE))["heating"][
        "differences"
    ]
    for name in ("rmse", "mae", "coverage"):
        assert differences[name]["value"] > differences[name]["by_chance"], name
        assert differences[name]["lower"] > 0


def test_equal_groups_differ_by_what_chance_makes_of_them() -> None:
    """In about 95 of 100 samples the difference stays below."""
    contract, knobs = sensitive("area"), KNOBS.model_copy(update={"resamples": 100})
    below = []
    for seed in range(40):
        value = ACTUAL + np.random.default_rng(seed).normal(0, 100, 150)
        predicted = Prediction(value, value - 200, value + 200)
        told = fairness(contract, ROWS, ACTUAL, predicted, knobs)["area"]["differences"]["rmse"]
        below.append(told["value"] <= told["by_chance"])
    assert np.mean(below) == pytest.approx(0.95, abs=0.05)


def test_a_sensitive_column_without_a_slice_is_said_to_be_one() -> None:
    """Nobody has said where to cut it."""
    told = found(sensitive("rooms"))
    assert told == {"rooms": {"judged": False, "reason": "The contract has no slice of it."}}


def test_groups_that_are_too_small_are_not_compared() -> None:
    """Twenty rows hold no two groups of fifteen."""
    told = found(sensitive("heating"), rows=20)["heating"]
    assert told == {
        "judged": False, "reason": "It has no two groups of 15 held-out rows and more.",
    }  # fmt: skip


def test_a_small_group_is_left_out_of_the_comparison() -> None:
    """The others are compared without it, and so are rows without a value."""
    contract = sensitive(
        "balcony", slices="slices:\n  - {column: balcony, edges: [2, 50], reason: r}\n"
    )
    told = found(contract)["balcony"]
    assert list(told["groups"]) == ["balcony in [2, 50)", "balcony ≥ 50"]
    assert sum(told["groups"].values()) < 150 - np.isnan(ROWS[:, 3]).sum() + 1
