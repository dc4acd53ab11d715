"""Is one model better than another? Paired, on the same rows, with an interval."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mlref.core.rows import Array
from mlref.core.settings import Bootstrap, Gate
from mlref.core.task import Task
from mlref.evaluation.metrics import Interval, bootstrap

ROUNDING = 1e-9
"""Share of the largest actual value below which two predictions differ by arithmetic alone."""


def score_difference(
    actual: Array, one: Array, other: Array, settings: Bootstrap, task: Task
) -> Interval:
    """Score of ``one`` minus score of ``other`` on the same rows, by paired bootstrap.

    Negative: ``one`` is better. An interval that holds zero: these rows cannot tell.

    Parameters
    ----------
    actual : ndarray of float64, shape (n,)
    one, other : ndarray of float64, shape (n, k), or (n,) where k is 1
        The two models' outputs.

    Examples
    --------
    >>> from mlref.core.task import Regression
    >>> settings = Bootstrap(seed=0, resamples=200, confidence=0.95)
    >>> actual = np.arange(50.0)
    >>> score_difference(actual, actual + 1, actual + 3, settings, Regression())
    {'value': -2.0, 'lower': -2.0, 'upper': -2.0}
    """

    def _difference(one: Array, other: Array) -> dict[str, Array]:
        return {"score": task.score(one.mean(axis=-1)) - task.score(other.mean(axis=-1))}

    losses = task.loss(actual, one), task.loss(actual, other)
    return bootstrap(_difference, losses, settings)["score"]


class Comparison(NamedTuple):
    """A challenger and the champion on the same n rows, by the task's primary score.

    Parameters
    ----------
    rows : int
        The n rows.
    difference : Interval
        Score of the challenger minus the champion's.
    champion : float
        Score of the champion.
    slices : dict of str to Interval or None
        The same difference on the rows of a slice, between one-sided bounds, with ``margin``, the
        difference that is no harm yet; None where the rows are too few.
    score : str
        The score as sentences name it.
    """

    rows: int
    difference: Interval
    champion: float
    slices: dict[str, Interval | None]
    score: str


def compare(
    actual: Array, challenger: Array, champion: Array, slices: Mapping[str, NDArray[np.bool_]],
    settings: Gate, task: Task,
) -> Comparison:  # fmt: skip
    """Compare two models on all rows and on each slice; differences by rounding count as zero.

    The more slices, the likelier one of them looks worse by chance alone. So a slice has a margin, which
    costs less power than wider intervals for all of them (``benchmarks/gate.py``).

    Parameters
    ----------
    actual : ndarray of float64, shape (n,)
    challenger, champion : ndarray of float64, shape (n, k), or (n,) where k is 1
        The two models' outputs.
    slices : mapping of str to ndarray of bool, shape (n,)
        The rows of each slice.
    """
    if np.allclose(challenger, champion, rtol=0, atol=ROUNDING * np.abs(actual).max()):
        challenger = champion
    found = dict[str, Interval | None].fromkeys(slices)
    for name, rows in slices.items():
        if rows.sum() >= settings.smallest_slice:
            found[name] = slice_difference(
                actual[rows], challenger[rows], champion[rows], settings, task
            )
    return Comparison(
        len(actual),
        score_difference(actual, challenger, champion, settings, task),
        float(task.score(task.loss(actual, champion).mean())),
        found,
        task.title,
    )


def slice_difference(
    actual: Array, one: Array, other: Array, settings: Gate, task: Task
) -> Interval:
    """Score of ``one`` minus score of ``other`` on few rows, by Student's t in pairs.

    A percentile bootstrap of twenty rows is too narrow. The t test is made of the jackknife's
    pseudo-values (Tukey 1958), since a score need not be a mean. Each bound is one-sided.
    """
    losses = np.stack([task.loss(actual, one), task.loss(actual, other)])
    rows, scores = losses.shape[1], task.score(losses.mean(axis=1))
    left_out = task.score((losses.sum(axis=1, keepdims=True) - losses) / (rows - 1))
    pseudo = rows * (scores[0] - scores[1]) - (rows - 1) * (left_out[0] - left_out[1])
    reach = stats.t.ppf(settings.confidence, rows - 1) * pseudo.std(ddof=1) / rows**0.5
    value = float(scores[0] - scores[1])
    bounds = {"lower": value - float(reach), "upper": value + float(reach)}
    return {"value": value} | bounds | {"margin": settings.slice_margin * float(scores[1])}
