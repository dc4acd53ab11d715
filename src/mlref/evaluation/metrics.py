"""Metrics of a regression for people, and intervals around any metric."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mlref.core.rows import Array
from mlref.core.settings import Bootstrap

Interval = dict[str, float]
"""``{"value", "lower", "upper"}``: a point and its interval."""

SUMMARY = ("rmse", "mae", "r2", "median_error", "bias", "coverage")
"""Metrics that fit one line of a table."""

CELLS = 4_000_000
"""Resampled cells held at once: 32 MB an array, whatever the number of rows."""


def errors(actual: Array, predicted: Array) -> dict[str, Array]:
    """Measure predictions along the last axis.

    Parameters
    ----------
    actual, predicted : ndarray of float64, shape (..., n)
        In the target's unit.

    Returns
    -------
    dict of ndarray, shape (...)
        ``rmse``, ``mae``, ``median_error`` (the median absolute error), ``bias`` (mean of predicted −
        actual), all in the target's unit, and ``r2``, which is NaN where the actual values are equal.

    Examples
    --------
    >>> found = errors(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 6.0]))
    >>> {name: round(float(value), 3) for name, value in found.items()}
    {'rmse': 1.732, 'mae': 1.0, 'r2': -3.5, 'median_error': 0.0, 'bias': 1.0}
    """
    error = predicted - actual
    squared, spread = (error**2).mean(axis=-1), actual.var(axis=-1)
    return {
        "rmse": np.sqrt(squared),
        "mae": np.abs(error).mean(axis=-1),
        "r2": np.where(spread > 0, 1 - squared / np.where(spread > 0, spread, 1), np.nan),
        "median_error": np.median(np.abs(error), axis=-1),
        "bias": error.mean(axis=-1),
    }


def bootstrap(
    statistic: Callable[..., dict[str, Array]],
    samples: tuple[Array, ...],
    settings: Bootstrap,
) -> dict[str, Interval]:
    """Put a percentile bootstrap interval around each metric of a statistic (Efron 1979).

    All samples are resampled with the same rows, so paired metrics stay paired. One row says nothing:
    its interval is infinite. A metric that a resample leaves undefined has a NaN interval.

    Parameters
    ----------
    statistic : callable
        Takes the samples, shape (..., n), and gives metrics of shape (...).
    samples : tuple of ndarray, each of shape (n,)
    """
    points, rows = statistic(*samples), len(samples[0])
    if rows < 2:
        ends = {"lower": -math.inf, "upper": math.inf}
        return {name: {"value": float(point)} | ends for name, point in points.items()}

    def _stacked(*drawn: Array, axis: int) -> Array:
        return np.stack([*statistic(*drawn).values()])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # the NaN says it
        low, high = stats.bootstrap(
            samples, _stacked, paired=True, vectorized=True, method="percentile", rng=settings.seed,
            n_resamples=settings.resamples, confidence_level=settings.confidence,
            batch=max(1, CELLS // rows),
        ).confidence_interval  # fmt: skip
    bounds = zip(points.items(), low.tolist(), high.tolist(), strict=True)
    return {
        name: {"value": float(point), "lower": lower, "upper": upper}
        for (name, point), lower, upper in bounds
    }


def share(inside: NDArray[np.bool_], confidence: float) -> Interval:
    """Share of rows, such as those inside their intervals, with its exact interval.

    Clopper and Pearson's (1934). A bootstrap would say [1, 1] where all rows are inside: it cannot
    draw what was not seen.

    Examples
    --------
    >>> found = share(np.array([True] * 9 + [False]), 0.95)
    >>> {name: round(value, 3) for name, value in found.items()}
    {'value': 0.9, 'lower': 0.555, 'upper': 0.997}
    """
    held: Any = stats.binomtest(int(np.count_nonzero(inside)), len(inside))
    exact = held.proportion_ci(confidence, method="exact")
    return {"value": held.statistic, "lower": float(exact.low), "upper": float(exact.high)}
