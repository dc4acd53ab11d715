"""Compare the error between the groups of a sensitive attribute with what chance alone would give.

A largest difference is never negative, so its interval cannot hold zero. The difference that chance
alone makes stands beside it: the same rows with their groups permuted. So does the smallest difference
that could have been seen: where that is large, "no difference was found" says little.
"""

from statistics import NormalDist
from typing import Any

import numpy as np

from mlref.core.contract import Contract
from mlref.core.rows import Array
from mlref.core.settings import Evaluate
from mlref.core.task import Prediction
from mlref.evaluation.metrics import bootstrap
from mlref.evaluation.power import POWER
from mlref.evaluation.slices import groups


def fairness(
    contract: Contract, features: Array, actual: Array, predicted: Prediction, settings: Evaluate
) -> dict[str, dict[str, Any]]:
    """Compare the groups of each sensitive column, as the contract's slices divide it.

    Parameters
    ----------
    features : ndarray of float64, shape (n, features)
    actual : ndarray of float64, shape (n,)
        Target units.
    predicted : Prediction
        Of the same rows.

    Returns
    -------
    dict
        For each sensitive column ``judged``; where it is true ``groups`` (rows of each) and
        ``differences`` (for ``rmse``, ``mae``, ``bias`` and ``coverage`` the largest difference between
        two groups as value, lower, upper; ``by_chance``, which permuted groups stay below with the
        settings' confidence; and ``visible``, the true difference that would have been above that in
        ``POWER`` of the cases); else ``reason``.
    """
    found: dict[str, dict[str, Any]] = {}
    least, held = settings.smallest_slice, predicted.holds(actual).astype(np.float64)
    for column in contract.features:
        if not column.sensitive:
            continue
        declared = [part for part in contract.slices if part.column == column.name]
        parts = groups(contract, declared[0], features) if declared else ()
        members = {name: rows for name, rows in parts if np.count_nonzero(rows) >= least}
        if len(members) < 2:
            reason = f"It has no two groups of {least} rows and more in the test set."
            reason = reason if declared else "The contract has no slice of it."
            found[column.name] = {"judged": False, "reason": reason}
            continue
        group = np.select(list(members.values()), range(len(members)), default=-1)
        known = group >= 0
        samples = (predicted.value - actual)[known], held[known], group[known]
        found[column.name] = {
            "judged": True,
            "groups": {name: int(np.count_nonzero(rows)) for name, rows in members.items()},
            "differences": _differences(samples, settings),
        }
    return found


def _differences(samples: tuple[Array, ...], settings: Evaluate) -> dict[str, dict[str, float]]:
    error, inside, group = samples
    generator = np.random.default_rng(settings.seed)
    intervals = bootstrap(_between_groups, samples, settings)
    permuted = [
        _between_groups(error, inside, generator.permutation(group))
        for _ in range(settings.resamples)
    ]
    normal = NormalDist()
    # Chance stays below a quantile of a normal error, so it tells the error's size; the interval of a
    # difference that is never negative would make it too small.
    reach = 1 + normal.inv_cdf(POWER) / normal.inv_cdf(0.5 + settings.confidence / 2)
    for name, interval in intervals.items():
        chance = np.quantile([found[name] for found in permuted], settings.confidence)
        interval["by_chance"] = float(chance)
        interval["visible"] = reach * interval["by_chance"]
    return intervals


def _between_groups(error: Array, inside: Array, group: Array) -> dict[str, Array]:
    """Largest difference between two groups, along the last axis."""
    members = [group == code for code in np.unique(group)]

    def _means(values: Array) -> Array:
        with np.errstate(invalid="ignore"):  # a resample may miss a group
            return np.stack([(values * m).sum(axis=-1) / m.sum(axis=-1) for m in members])

    means = {
        "rmse": np.sqrt(_means(error**2)), "mae": _means(np.abs(error)),
        "bias": _means(error), "coverage": _means(inside),
    }  # fmt: skip
    return {name: np.nanmax(m, axis=0) - np.nanmin(m, axis=0) for name, m in means.items()}
