"""Leaks: how much of the target a column tells that the other columns do not."""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from mlref.core.contract import Column, Contract
from mlref.core.rows import Array

ROWS = 20_000
"""Rows that are looked at: every k-th one of a larger table. No leak is missed for want of more."""
LEVELS = 50
"""A category of more values is left out: it would be a column for each of them."""
EACH = 10
"""Rows for each column below which a correlation given all the others says nothing."""
COLLINEAR = 1e-9
"""Share of a variance below which other columns explain it all."""


def partial_correlations(contract: Contract, features: Array, target: Array) -> dict[str, Any]:
    """Measure for each column its partial correlation with the target, given all other columns.

    It is the root of the share that the column explains of what the others leave unexplained
    (least squares; a category has a column for each value; nulls count as the mean), so it has no sign.

    Parameters
    ----------
    features : ndarray of float64, shape (n, features)
        Encoded rows.
    target : ndarray of float64, shape (n,)

    Returns
    -------
    dict
        ``target``, its name; ``rows`` looked at; ``others``, how many columns are held fixed; and
        ``columns``, name to correlation from 0 to 1: empty where the rows are too few.
    """
    step = max(1, len(target) // ROWS)
    known = {
        column.name: _numbers(column, values)
        for column, values in zip(contract.features, features[::step].T, strict=True)
        if len(column.allowed or ()) <= LEVELS
    }
    table = np.column_stack([*known.values(), target[::step]])
    found: dict[str, Any] = {"target": contract.target.name, "rows": len(table)}
    found |= {"others": table.shape[1] - 2, "columns": {}}
    if len(table) < EACH * table.shape[1]:
        return found
    table = table - table.mean(axis=0)
    table /= np.maximum(np.sqrt((table**2).mean(axis=0)), np.finfo(float).tiny)
    moments = table.T @ table / len(table)
    of = np.repeat(np.arange(len(known)), [block.shape[1] for block in known.values()])

    def _unexplained(kept: Any) -> float:
        inner, outer = moments[:-1, :-1][np.ix_(kept, kept)], moments[:-1, -1][kept]
        inverse = np.linalg.pinv(inner, rcond=COLLINEAR, hermitian=True)
        return max(0.0, 1 - float(outer @ inverse @ outer))

    whole = _unexplained(of >= 0)
    for place, name in enumerate(known):
        rest = _unexplained(of != place)
        share = (rest - whole) / rest if rest > COLLINEAR else 0.0
        found["columns"][name] = math.sqrt(min(max(share, 0.0), 1.0))
    return found


def _numbers(column: Column, values: Array) -> Array:
    """A column of the encoded array as numbers without nulls, shape (n, 1) or (n, values)."""
    if column.allowed is not None:
        return np.equal.outer(values, range(len(column.allowed))).astype(np.float64)
    present = values[~np.isnan(values)]
    return np.nan_to_num(values, nan=present.mean() if len(present) else 0.0)[:, None]


def grown(before: Mapping[str, Any], now: Mapping[str, Any], alarms: float) -> list[str]:
    """Name the columns whose partial correlation has grown by more than chance.

    Fisher's z (1924), one-sided, by Bonferroni's correction for all columns together.

    Parameters
    ----------
    before, now : mapping
        What ``partial_correlations`` gave.
    alarms : float
        Share of cases without a leak in which any column may be named.
    """
    common = [name for name in now["columns"] if name in before["columns"]]
    if not common:
        return []
    limit = NormalDist().inv_cdf(1 - alarms / len(common))
    error = math.sqrt(sum(1 / (one["rows"] - one["others"] - 3) for one in (before, now)))

    def _z(found: Mapping[str, Any], name: str) -> float:
        return math.atanh(min(found["columns"][name], 1 - COLLINEAR))

    return [name for name in common if _z(now, name) - _z(before, name) > limit * error]
