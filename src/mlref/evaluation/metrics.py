"""Metrics of a regression, each with a bootstrap interval."""

from collections.abc import Callable, Iterator

import numpy as np

from mlref.core import settings
from mlref.core.rows import Array

Interval = dict[str, float]
"""``{"value", "lower", "upper"}``: a point and its percentile bootstrap interval."""

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
    squared = error**2
    spread = ((actual - actual.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    unexplained = squared.sum(axis=-1)
    return {
        "rmse": np.sqrt(squared.mean(axis=-1)),
        "mae": np.abs(error).mean(axis=-1),
        "r2": np.where(spread > 0, 1 - unexplained / np.where(spread > 0, spread, 1), np.nan),
        "median_error": np.median(np.abs(error), axis=-1),
        "bias": error.mean(axis=-1),
    }


def resamples(
    rows: int, knobs: settings.Bootstrap
) -> Iterator[np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    """Draw rows with replacement, in blocks of shape (some resamples, rows) that fit the memory."""
    generator = np.random.default_rng(knobs.seed)
    block = max(1, CELLS // rows)
    for start in range(0, knobs.resamples, block):
        yield generator.integers(rows, size=(min(block, knobs.resamples - start), rows))


def shuffles(
    rows: int, knobs: settings.Bootstrap
) -> Iterator[np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    """Deal the rows anew, each once, as often and in such blocks as :func:`resamples`."""
    generator = np.random.default_rng(knobs.seed)
    for drawn in resamples(rows, knobs):
        yield generator.permuted(np.broadcast_to(np.arange(rows), drawn.shape), axis=1)


def bootstrap(
    statistic: Callable[..., dict[str, Array]],
    samples: tuple[Array, ...],
    knobs: settings.Bootstrap,
) -> dict[str, Interval]:
    """Put a percentile bootstrap interval around each figure of a statistic (Efron 1979).

    All samples are resampled with the same rows, so paired figures stay paired.

    Parameters
    ----------
    statistic : callable
        Takes the samples, shape (..., n), and gives figures of shape (...).
    samples : tuple of ndarray, each of shape (n,)
    knobs : Bootstrap
        Seed, number of resamples and confidence.
    """
    point = statistic(*samples)
    drawn = [statistic(*(s[index] for s in samples)) for index in resamples(len(samples[0]), knobs)]
    tail = (1 - knobs.confidence) / 2
    intervals = {}
    for name, value in point.items():
        lower, upper = _ends(np.concatenate([d[name] for d in drawn]), tail)
        intervals[name] = {"value": float(value), "lower": float(lower), "upper": float(upper)}
    return intervals


def _ends(drawn: Array, tail: float) -> Array:
    """The quantiles at both tails; NaN where the figure is not defined in any resample."""
    known = drawn[~np.isnan(drawn)]
    return np.quantile(known, [tail, 1 - tail]) if len(known) else np.full(2, np.nan)
