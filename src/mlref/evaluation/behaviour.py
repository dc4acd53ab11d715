"""Behavioural checks that the contract asks of every model: monotone, invariant, bounded."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlref.core.contract import Bounded, Column, Contract, Monotone, Promise
from mlref.core.rows import Array

STEPS = 11
"""Values that a check tries of a number, evenly over its expected range."""


def check(
    contract: Contract, predict: Callable[[Array], Array], rows: Array
) -> list[dict[str, Any]]:
    """Run every behavioural check of the contract on real rows.

    Monotone and invariant checks are *ceteris paribus*: in each row the one column takes each of its
    values while the others stay. Of the model's answers the worst counts.

    Parameters
    ----------
    predict : callable
        Encoded rows, shape (m, features), to values, shape (m,), target units.
    rows : ndarray of float64, shape (n, features)

    Returns
    -------
    list of dict
        ``promise`` (a sentence), ``passed``, ``worst`` (how far the worst row goes against it,
        target units), ``tolerance``, and ``broken`` (how many of the n rows break it).
    """
    return [_check(contract, declared, predict, rows) for declared in contract.promises]


def _check(
    contract: Contract, declared: Promise, predict: Callable[[Array], Array], rows: Array
) -> dict[str, Any]:
    if isinstance(declared, Bounded):
        values, (lo, hi) = predict(rows), declared.range
        excess = np.maximum(np.maximum(lo - values, values - hi), 0.0)
        sentence = f"predictions stay between {lo:g} and {hi:g}"
    else:
        place = contract.names.index(declared.column)
        curves = sweep(contract.features[place], place, predict, rows)
        if isinstance(declared, Monotone):
            steps = np.diff(curves, axis=1) * (-1 if declared.direction == "increasing" else 1)
            excess = np.maximum(steps.max(axis=1), 0.0)
            sentence = f"{declared.direction} with {declared.column}"
        else:
            excess = np.ptp(curves, axis=1)
            sentence = f"invariant to {declared.column}"
    broken = ~(excess <= declared.tolerance + 1e-9)  # NaN breaks it
    return {
        "promise": sentence, "passed": not broken.any(), "worst": float(excess.max()),
        "tolerance": declared.tolerance, "broken": int(broken.sum()),
    }  # fmt: skip


def grid(column: Column) -> Array:
    """The encoded values that a check tries of a column: all categories, or steps over the expected range."""
    if column.allowed is not None:
        return np.arange(len(column.allowed), dtype=np.float64)
    steps = np.linspace(*column.span, STEPS)
    return np.unique(np.round(steps)) if column.type in ("integer", "date") else steps


def sweep(column: Column, place: int, predict: Callable[[Array], Array], rows: Array) -> Array:
    """Let one column of each row take each of its values while the others stay.

    Returns
    -------
    ndarray of float64, shape (n, steps)
        The predictions, target units.
    """
    values = grid(column)
    changed = np.repeat(rows, len(values), axis=0)
    changed[:, place] = np.tile(values, len(rows))
    return predict(changed).reshape(len(rows), len(values))
