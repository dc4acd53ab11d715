"""Partial correlations: how much a column tells that the others do not, and whether that has grown."""

from typing import Any

import numpy as np
import pytest

from mlref.core.contract import parse
from mlref.core.rows import Array, generate
from mlref.data.leakage import grown, partial_correlations
from tests.fakes import CONTRACT, CONTRACT_TEXT, linear

ROWS = generate(CONTRACT, 300, seed=0)
NOISE = np.random.default_rng(1).normal(0, 1, 300)


def found(rows: Array, target: Array) -> dict[str, float]:
    """Partial correlations by column, rounded."""
    known = partial_correlations(CONTRACT, rows, target)["columns"]
    return {name: round(value, 3) for name, value in known.items()}


def test_it_is_the_textbook_s_for_numbers() -> None:
    """Correlation of what is left of both after the other columns are taken out."""
    rows = ROWS.copy()
    rows[:, 2], rows[:, 3] = 0, 0
    target = 0.02 * rows[:, 0] + 3 * NOISE
    rest = np.column_stack([np.ones(300), rows[:, 1]])
    left = [y - rest @ np.linalg.lstsq(rest, y)[0] for y in (rows[:, 0], target)]
    expected = abs(np.corrcoef(*left)[0, 1])
    assert found(rows, target)["area"] == pytest.approx(expected, abs=1e-3)
    assert found(rows, target)["balcony"] == 0  # constant


def test_a_category_counts_as_a_whole_and_a_null_as_the_mean() -> None:
    told = found(ROWS, 100 * np.isin(ROWS[:, 2], (0, 2)) + NOISE)
    assert told["heating"] == pytest.approx(1, abs=0.01)
    assert max(told["area"], told["rooms"], told["balcony"]) < 0.2
    assert np.isnan(ROWS[:, 3]).any()


def test_two_parts_of_a_sum_tell_it_together_and_a_copy_hides_behind_its_twin() -> None:
    rows = ROWS.copy()
    assert found(rows, rows[:, 0] + 50 * rows[:, 1])["rooms"] == 1
    rows[:, 1] = rows[:, 0]
    assert found(rows, rows[:, 0])["area"] == 0


def test_few_rows_say_nothing_and_many_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    few = partial_correlations(CONTRACT, ROWS[:60], linear(ROWS[:60]))
    assert (few["rows"], few["columns"]) == (60, {})
    assert grown(few, few, 0.05) == []
    monkeypatch.setattr("mlref.data.leakage.ROWS", 100)
    assert partial_correlations(CONTRACT, ROWS, linear(ROWS))["rows"] == 100


def test_a_category_of_very_many_values_is_left_out() -> None:
    values = ", ".join(f"v{value}" for value in range(51))
    contract = parse(
        CONTRACT_TEXT.replace("allowed: [gas, oil, wood]", f"allowed: [oil, {values}]")
    )
    told = partial_correlations(contract, ROWS, NOISE)
    assert (list(told["columns"]), told["others"]) == (["area", "rooms", "balcony"], 2)


def record(rows: int = 363, **columns: float) -> dict[str, Any]:
    """What is recorded of a model with nine other columns."""
    return {"target": "rent", "rows": rows, "others": 9, "columns": columns}


@pytest.mark.parametrize(
    ("before", "now", "names"),
    [
        (record(area=0.3), record(area=0.46), ["area"]),
        (record(area=0.3), record(area=0.38), []),
        (record(area=0.46), record(area=0.3), []),  # less is no leak
        (
            record(area=0.3, rooms=0.1),
            record(area=0.42, rooms=0.1),
            [],
        ),  # two columns: by Bonferroni
        (record(40, area=0.3), record(40, area=0.46), []),
        (record(area=1.0), record(area=1.0), []),
        (record(area=0.1), record(size=0.9), []),
    ],
    ids=str,
)
def test_only_growth_beyond_chance_is_named(
    before: dict[str, Any], now: dict[str, Any], names: list[str]
) -> None:
    assert grown(before, now, 0.05) == names


def test_without_a_leak_hardly_a_retraining_names_a_column() -> None:
    generator, named = np.random.default_rng(2), []
    for _ in range(100):
        one, other = (
            partial_correlations(CONTRACT, ROWS, linear(ROWS) + generator.normal(0, 3000, 300))
            for _ in range(2)
        )
        named.append(bool(grown(one, other, 0.05)))
    assert np.mean(named) <= 0.05
