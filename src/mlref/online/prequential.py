"""Learner against champion, each row scored before it is learned; older rows count less and less."""

import math

import numpy as np

from mlref.core.rows import Array


class Prequential:
    """Paired losses with a fading factor (Gama, Sebastião and Rodrigues 2013).

    Parameters
    ----------
    fading : float
        Weight of a row relative to the row after it.

    Attributes
    ----------
    sums : list of float
        Of weights, squared weights, differences of losses, their squares, and losses of the champion.

    Examples
    --------
    >>> found = Prequential(0.999)
    >>> found.difference()
    (0.0, inf)
    >>> found.add(np.array([1.0, 2.0, 1.0]), np.array([3.0, 3.0, 3.0]))
    >>> [round(value, 2) for value in found.difference()]
    [-1.67, 0.33]
    """

    def __init__(self, fading: float) -> None:
        self.fading, self.sums = fading, [0.0] * 5

    def add(self, learner: Array, champion: Array) -> None:
        """Take in the losses of both on the same rows, shape (n,)."""
        rows, gains = len(champion), learner - champion
        weights = self.fading ** np.arange(rows - 1, -1, -1.0)
        past = self.fading ** (rows * np.array([1, 2, 1, 1, 1]))
        new = (weights, weights**2, weights * gains, weights * gains**2, weights * champion)
        self.sums = (past * self.sums + np.sum(new, axis=1)).tolist()

    def difference(self) -> tuple[float, float]:
        """Mean loss of the learner minus that of the champion, and its standard error."""
        weight, squared, gain, gains, _ = self.sums
        rows = weight**2 / squared if squared else 0.0
        if rows < 2:
            return 0.0, math.inf
        mean = gain / weight
        return mean, math.sqrt(max(gains / weight - mean**2, 0.0) / (rows - 1))
