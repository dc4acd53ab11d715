"""Is one model better than another? Paired, on the same rows, with an interval."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlref.core.rows import Array
from mlref.core.settings import Bootstrap, Gate
from mlref.core.task import Regression, Task
from mlref.evaluation.metrics import Interval, bootstrap

ROUNDING = 1e-9
"""Share of the largest actual value below which two predictions differ by arithmetic alone."""

REGRESSION: Task = Regression()


def score_difference(
    actual: Array, one: Array, other: Array, settings: Bootstrap, task: Task = REGRESSION
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
    >>> settings = Bootstrap(seed=0, resamples=200, confidence=0.95)
    >>> actual = np.arange(50.0)
    >>> score_difference(actual, actual + 1, actual + 3, settings)
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
        The same difference on the rows of a slice; None where they are too few.
    """

    rows: int
    difference: Interval
    champion: float
    slices: dict[str, Interval | None]


def compare(
    actual: Array, challenger: Array, champion: Array, slices: Mapping[str, NDArray[np.bool_]],
    settings: Gate, task: Task = REGRESSION,
) -> Comparison:  # fmt: skip
    """Compare two models on all rows and on each slice; what differs by rounding alone is the same.

    The more slices, the likelier one of them looks worse by chance alone. So their intervals are wider,
    by Bonferroni's correction: together they have the confidence that is asked for.

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
    large = [name for name, rows in slices.items() if rows.sum() >= settings.smallest_slice]
    each = 1 - (1 - settings.confidence) / max(len(large), 1)
    stricter = settings.model_copy(update={"confidence": each})
    for name in large:
        rows = slices[name]
        found[name] = score_difference(
            actual[rows], challenger[rows], champion[rows], stricter, task
        )
    return Comparison(
        len(actual),
        score_difference(actual, challenger, champion, settings, task),
        float(task.score(task.loss(actual, champion).mean())),
        found,
    )
