"""Is one model better than another? Paired, on the same rows, with an interval."""

import numpy as np

from mlref import settings
from mlref.evaluation.metrics import Interval, bootstrap
from mlref.rows import Array


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
