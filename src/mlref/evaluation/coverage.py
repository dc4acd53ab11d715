"""How often intervals hold the actual value, and how surely that is known."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from mlref.evaluation.metrics import Interval


def coverage(inside: NDArray[np.bool_], confidence: float) -> Interval:
    """Share of rows inside their intervals, with its exact interval (Clopper and Pearson 1934).

    A bootstrap would say [1, 1] where all rows are inside: it cannot draw what was not seen.

    Parameters
    ----------
    inside : ndarray of bool, shape (n,)
        Whether the actual value of each row lies in its prediction interval.
    confidence : float
        Between 0 and 1.

    Examples
    --------
    >>> found = coverage(np.array([True] * 9 + [False]), 0.95)
    >>> {name: round(share, 3) for name, share in found.items()}
    {'value': 0.9, 'lower': 0.555, 'upper': 0.997}
    >>> round(coverage(np.ones(10, dtype=np.bool_), 0.95)["lower"], 3)
    0.692
    """
    rows, held, tail = len(inside), int(np.count_nonzero(inside)), (1 - confidence) / 2
    lower = betaincinv(held, rows - held + 1, tail) if held else 0.0
    upper = betaincinv(held + 1, rows - held, 1 - tail) if held < rows else 1.0
    return {"value": held / rows, "lower": float(lower), "upper": float(upper)}
