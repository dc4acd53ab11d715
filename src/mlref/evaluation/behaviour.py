"""Behavioural checks that the contract asks of every model: monotone, invariant, bounded."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlref.core.contract import Bounded, Column, Contract, Monotone, Promise
from mlref.core.rows import Array

STEPS = 11
"""Values that a promise tries of a number, evenly over its expected range."""


def check(
    contract: Contract, predict: Callable[[Array], Array], rows: Array
) -> list[dict[str, Any]]:
    """Check every promise on real rows.

    Monotone and invariant promises are *ceteris paribus*: in each row the one column takes each of its
    values while the others stay. Of the model's answers the worst counts.

    Parameters
    ----------
    predict : callable
        Encoded rows, shape (m, features), to values, shape (m,), target units.
    rows : ndarray of float64, shape (n, features)

    Returns
    -------
    list of dict
        ``promise`` (a sentence), ``passed``, ``worst`` (how far the worst row goes against the promise,
        target units), ``tolerance``, and ``broken`` (how many of the n rows break it).
    """
    return [_check(contract, promise, predict, rows) for promise in contract.promises]


def _check(
    contract: Contract, promise: Promise, predict: Callable[[Array], Array], rows: Array
) -> dict[str, Any]:
    if isinstance(promise, Bounded):
        values, (lo, hi) = predict(rows), promise.range
        excess = np.maximum(np.maximum(lo - values, values - hi), 0.0)
        sentence = f"predictions stay between {lo:g} and {hi:g}"
    else:
        place = contract.names.index(promise.column)
        _, curves = sweep(contract.features[place], place, predict, rows)
        if isinstance(promise, Monotone):
            steps = np.diff(curves, axis=1) * (-1 if promise.direction == "increasing" else 1)
            excess = np.maximum(steps.max(axis=1), 0.0)
            sentence = f"{promise.direction} with {promise.column}"
        else:
            excess = np.ptp(curves, axis=1)
            sentence = f"invariant to {promise.column}"
    broken = ~(excess <= promise.tolerance + 1e-9)  # a NaN breaks its promise
    return {
        "promise": sentence, "passed": not broken.any(), "worst": float(excess.max()),
        "tolerance": promise.tolerance, "broken": int(broken.sum()),
    }  # fmt: skip


def sweep(
    column: Column, place: int, predict: Callable[[Array], Array], rows: Array
) -> tuple[Array, Array]:
    """Let one column of each row take each of its values while the others stay.

    Returns
    -------
    grid : ndarray of float64, shape (steps,)
        The values, encoded: all categories, or steps over the expected range.
    curves : ndarray of float64, shape (n, steps)
        The predictions, target units.
    """
    if column.allowed is not None:
        grid = np.arange(len(column.allowed), dtype=np.float64)
    else:
        lo, hi = column.expected or column.valid or (0.0, 1.0)
        grid = np.linspace(lo, hi, STEPS)
        grid = np.unique(np.round(grid)) if column.type == "integer" else grid
    changed = np.repeat(rows, len(grid), axis=0)
    changed[:, place] = np.tile(grid, len(rows))
    return grid, predict(changed).reshape(len(rows), len(grid))
