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
from mlref.core.task import Prediction, Regression, Task

Interval = dict[str, float]
"""``{"value", "lower", "upper"}``: a point and its interval."""

SUMMARY = ("rmse", "mae", "r2", "median_error", "bias", "coverage")
"""Metrics that fit one line of a table."""

CELLS = 4_000_000
"""Resampled cells held at once: 32 MB an array, whatever the number of rows."""


FAR = 1e9
"""Stands for infinite standard errors; infinity itself has no deviation."""


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
    statistic: Callable[..., dict[str, Array]], samples: tuple[Array, ...], settings: Bootstrap
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

    low, high = _ends(samples, _stacked, settings)
    bounds = zip(points.items(), low.tolist(), high.tolist(), strict=True)
    return {
        name: {"value": float(point), "lower": lower, "upper": upper}
        for (name, point), lower, upper in bounds
    }


def _ends(
    samples: tuple[Array, ...], statistic: Callable[..., Array], settings: Bootstrap
) -> tuple[Array, Array]:
    """Percentiles of a statistic over resamples of all samples by the same rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # the NaN says it
        found = stats.bootstrap(
            samples, statistic, paired=True, vectorized=True, method="percentile", rng=settings.seed,
            n_resamples=settings.resamples, confidence_level=settings.confidence,
            batch=max(1, CELLS // len(samples[0])),
        )  # fmt: skip
    low, high = found.confidence_interval
    return low, high


def measured(
    actual: Array, predicted: Array, settings: Bootstrap, task: Task
) -> dict[str, Interval]:
    """All metrics of :func:`errors` for n rows, and the task's score; see :func:`score_interval`."""
    found = bootstrap(errors, (actual, predicted), settings)
    if len(actual) > 1:
        for kind in (Regression(), task):
            losses = kind.loss(actual, predicted)
            found[kind.primary] = score_interval(losses, settings, kind.score)
    return found


def score_interval(
    losses: Array, settings: Bootstrap, score: Callable[[Any], Any] = np.sqrt
) -> Interval:
    """Score of the mean of n losses, with its bootstrap-t interval on the log of the mean.

    A few large losses carry most of the mean, and most samples hold fewer of them than usual: the
    percentiles of a mean reach too low. Here each resample is measured by its own standard error (Efron
    and Tibshirani 1993, sections 12.5 and 12.6). Where resamples of equal losses leave the upper end
    open, the percentile takes its place.

    Parameters
    ----------
    losses : ndarray of float64, shape (n,)
        Not negative; n is at least 2.
    score : callable
        Turns a mean loss into the score.

    Examples
    --------
    >>> settings = Bootstrap(seed=0, resamples=1000, confidence=0.95)
    >>> found = score_interval(np.array([1.0, 4, 9, 16, 25, 36, 49, 400]), settings)
    >>> {name: round(float(value), 1) for name, value in found.items()}
    {'value': 8.2, 'lower': 3.9, 'upper': 70.9}
    """
    mean, spread = losses.mean(), losses.std()
    if not spread:
        return dict.fromkeys(("value", "lower", "upper"), float(score(mean)))

    def _studentised(drawn: Array, axis: int) -> Array:
        means, spreads = drawn.mean(axis), drawn.std(axis)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.log(means / mean) * means / spreads
        return np.stack([np.where(spreads > 0, t, np.copysign(FAR, means - mean)), means])

    low, high = _ends((losses,), _studentised, settings)
    with np.errstate(over="ignore"):
        lower, upper = mean * np.exp(-np.array([high[0], low[0]]) * spread / mean)
    ends = {"lower": lower, "upper": upper if np.isfinite(upper) else high[1]}
    return {name: float(score(end)) for name, end in ({"value": mean} | ends).items()}


def winkler(actual: Array, predicted: Prediction, coverage: float) -> Array:
    """Interval score of each row, target units: its width, and a fine for a value outside (Winkler 1972).

    The fine is 2 / (1 − coverage) times the distance. Lower is better: intervals are rewarded for being
    narrow only as far as they hold what they promise.
    """
    below, above = predicted.lower - actual, actual - predicted.upper
    outside = np.maximum(np.maximum(below, above), 0.0)
    return predicted.upper - predicted.lower + 2 / (1 - coverage) * outside


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
