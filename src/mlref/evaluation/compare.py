"""Is one model better than another? Paired, on the same rows, with an interval."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlref.core import settings
from mlref.core.rows import Array
from mlref.evaluation.metrics import Interval, bootstrap, errors

ROUNDING = 1e-9
"""Share of the largest actual value below which two predictions differ by arithmetic alone."""


def rmse_difference(actual: Array, one: Array, other: Array, knobs: settings.Bootstrap) -> Interval:
    """RMSE of ``one`` minus RMSE of ``other`` on the same rows, by paired bootstrap.

    Negative: ``one`` is better. An interval that holds zero: these rows cannot tell.

    Parameters
    ----------
    actual, one, other : ndarray of float64, shape (n,)
        Actual values and the two models' predictions, target units.

    Examples
    --------
    >>> knobs = settings.Bootstrap(seed=0, resamples=200, confidence=0.95)
    >>> actual = np.arange(50.0)
    >>> rmse_difference(actual, actual + 1, actual + 3, knobs)
    {'value': -2.0, 'lower': -2.0, 'upper': -2.0}
    """

    def _difference(actual: Array, one: Array, other: Array) -> dict[str, Array]:
        first, second = (np.sqrt(((p - actual) ** 2).mean(axis=-1)) for p in (one, other))
        return {"rmse": first - second}

    return bootstrap(_difference, (actual, one, other), knobs)["rmse"]


class Comparison(NamedTuple):
    """A challenger and the champion on the same n rows, in target units.

    Parameters
    ----------
    rows : int
        The n rows.
    rmse : Interval
        RMSE of the challenger minus the champion's.
    champion : float
        RMSE of the champion.
    slices : dict of str to Interval or None
        The same difference on the rows of a slice; None where they are too few.
    """

    rows: int
    rmse: Interval
    champion: float
    slices: dict[str, Interval | None]


def compare(
    actual: Array, challenger: Array, champion: Array, slices: Mapping[str, NDArray[np.bool_]],
    knobs: settings.Gate,
) -> Comparison:  # fmt: skip
    """Compare two models on all rows and on each slice; what differs by rounding alone is the same.

    The more slices, the likelier one of them looks worse by chance alone. So their intervals are wider,
    by Bonferroni's correction: together they have the confidence that is asked for.

    Parameters
    ----------
    actual, challenger, champion : ndarray of float64, shape (n,)
        Actual values and the two models' predictions, target units.
    slices : mapping of str to ndarray of bool, shape (n,)
        The rows of each slice.
    """
    if np.allclose(challenger, champion, rtol=0, atol=ROUNDING * np.abs(actual).max()):
        challenger = champion
    judged = [name for name, rows in slices.items() if rows.sum() >= knobs.smallest_slice]
    each = 1 - (1 - knobs.confidence) / max(len(judged), 1)
    stricter = knobs.model_copy(update={"confidence": each})
    return Comparison(
        len(actual),
        rmse_difference(actual, challenger, champion, knobs),
        float(errors(actual, champion)["rmse"]),
        {
            name: (
                rmse_difference(actual[rows], challenger[rows], champion[rows], stricter)
                if name in judged
                else None
            )
            for name, rows in slices.items()
        },
    )
