"""Planted violations of each promise are found, and nothing else is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlref.core.contract import Contract, parse
from mlref.core.rows import Array, generate
from mlref.evaluation.behaviour import check, grid, sweep
from tests.fakes import CONTRACT, CONTRACT_TEXT, WEIGHTS, linear

ROWS = generate(CONTRACT, 20, seed=1)


def promising(promise: str) -> Contract:
    """The rents with one promise."""
    return parse(f"{CONTRACT_TEXT}promises:\n  - {{{promise}, reason: r}}\n")


def found(promise: str, predict: Callable[[Array], Array], rows: Array = ROWS) -> dict[str, Any]:
    """What the check says about one promise."""
    (violation,) = check(promising(promise), predict, rows)
    return violation


def bump(rows: Array) -> Array:
    """Linear, but for a dip of 500 in the middle of the area's range."""
    return np.asarray(linear(rows)) - 500 * (np.abs(rows[:, 0] - 160) < 20)


INCREASING = "kind: monotone, column: area, direction: increasing"
DECREASING = "kind: monotone, column: area, direction: decreasing"
ROOMS = "kind: monotone, column: rooms, direction: increasing"
HEATING = "kind: invariant, column: heating, tolerance: 40"
BALCONY = "kind: invariant, column: balcony, tolerance: 199"
BOUNDED = "kind: bounded, range: [0, 20000]"


@pytest.mark.parametrize(
    ("promise", "predict", "passed", "worst"),
    [
        (INCREASING, linear, True, 0.0),
        (INCREASING, lambda rows: -linear(rows), False, 280.0),  # a step of 28 at weight 10
        (INCREASING, bump, False, 220.0),  # 500 down, 280 up
        (INCREASING + ", tolerance: 220", bump, True, 220.0),
        (INCREASING + ", tolerance: 219", bump, False, 220.0),
        (DECREASING, linear, False, 280.0),
        (DECREASING, lambda rows: -linear(rows), True, 0.0),
        (ROOMS, linear, True, 0.0),
        (ROOMS, lambda rows: -linear(rows), False, 50.0),  # whole rooms, one at a time
        (HEATING, linear, True, 40.0),
        (HEATING, lambda rows: 1.01 * linear(rows), False, 40.4),
        (BALCONY, linear, False, 200.0),  # no expected range: the valid one
        (BOUNDED, linear, True, 0.0),
        (BOUNDED, lambda rows: np.full(len(rows), -3.0), False, 3.0),
        (BOUNDED, lambda rows: np.full(len(rows), 20007.0), False, 7.0),
        (BOUNDED + ", tolerance: 7", lambda rows: np.full(len(rows), 20007.0), True, 7.0),
    ],
)  # fmt: skip
def test_a_promise_is_kept_or_broken_by_so_much(
    promise: str, predict: Callable[[Array], Array], passed: bool, worst: float
) -> None:
    """``worst`` is in target units, and counts from the promise, not from the tolerance."""
    violation = found(promise, predict)
    assert (violation["passed"], violation["worst"]) == (passed, pytest.approx(worst))


def test_a_promise_has_a_sentence_for_the_reasons_of_the_gate() -> None:
    assert [
        found(one, linear)["promise"] for one in (INCREASING, DECREASING, HEATING, BOUNDED)
    ] == [
        "increasing with area",
        "decreasing with area",
        "invariant to heating",
        "predictions stay between 0 and 20000",
    ]


def test_the_rows_that_break_a_promise_are_counted() -> None:
    """Here those with gas heating."""

    def only_gas(rows: Array) -> Array:
        return np.where(rows[:, 2] == 0, -1.0, 1.0) * rows[:, 0]

    violation = found(INCREASING, only_gas)
    assert violation["broken"] == np.count_nonzero(ROWS[:, 2] == 0) > 0
    assert not violation["passed"]


@pytest.mark.parametrize("promise", [INCREASING, HEATING, BALCONY, BOUNDED])
def test_nan_breaks_every_promise(promise: str) -> None:
    """No comparison with NaN counts as kept, wherever it is."""

    def nan_once(rows: Array) -> Array:
        values = np.full(len(rows), 5.0)
        values[-1] = np.nan
        return values

    violation = found(promise, nan_once)
    assert (violation["passed"], violation["broken"]) == (False, 1)


def test_every_promise_is_checked_in_the_order_of_the_contract_and_changes_no_row() -> None:
    text = f"{CONTRACT_TEXT}promises:\n  - {{{BOUNDED}, reason: r}}\n  - {{{HEATING}, reason: r}}\n"
    before = ROWS.copy()
    violations = check(parse(text), linear, ROWS)
    assert [violation["promise"][:10] for violation in violations] == ["prediction", "invariant "]
    assert np.array_equal(ROWS, before, equal_nan=True)
    assert check(CONTRACT, linear, ROWS) == []
    assert found(INCREASING, linear, ROWS[:1])["passed"]


@pytest.mark.parametrize(
    ("place", "values"),
    [
        (0, np.linspace(20, 300, 11).tolist()),
        (1, [1, 2, 3, 4, 5, 6, 7, 8]),
        (2, [0, 1, 2]),
        (3, np.linspace(0, 100, 11).tolist()),
    ],
    ids=["number", "integer", "category", "number without an expected range"],
)
def test_a_sweep_takes_a_column_through_its_values(place: int, values: list[float]) -> None:
    """And nothing else changes: the answers of a linear model are parallel lines."""
    column = CONTRACT.features[place]
    assert grid(column).tolist() == pytest.approx(values)
    curves = sweep(column, place, linear, ROWS)
    rise = WEIGHTS[place] * (np.array(values) - values[0])
    assert curves - curves[:, [0]] == pytest.approx(np.tile(rise, (len(ROWS), 1)))
