"""Tasks: a loss for each row, a score of the mean loss, and answers with a stated coverage.

A model's output has the shape (n, k). Comparison, gate, importance, slices and learning curves know
the losses of the rows and nothing else, so that another kind of task changes none of them.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mlref.core.contract import Column, Contract
from mlref.core.digits import digits, show_number
from mlref.core.errors import DataError
from mlref.core.rows import Array


class Prediction(NamedTuple):
    """Predicted values of n rows and their intervals: float64, shape (n,), target units."""

    value: Array
    lower: Array
    upper: Array

    def holds(self, actual: Array) -> NDArray[np.bool_]:
        """Whether each interval, ends included, holds the actual value."""
        return (self.lower <= actual) & (actual <= self.upper)

    def fields(self) -> dict[str, Array]:
        """The arrays by the names that files and responses give them."""
        return self._asdict()


class Task(Protocol):
    """What is learned: everything about it that comparison, training and serving ask."""

    @property
    def primary(self) -> str:
        """Name of the score by which models are chosen; lower is better."""

    def outputs(self, contract: Contract) -> int:
        """How many numbers a model gives for a row: k."""

    def loss(self, actual: Array, predicted: Array) -> Array:
        """Loss of each row, shape (n,), of predictions of shape (n, k)."""

    def score(self, mean_loss: Any) -> Any:
        """The primary score that belongs to a mean loss, elementwise."""

    def calibrate(self, actual: Array, out_of_fold: Array, coverage: float) -> dict[str, Any]:
        """Measure on out-of-fold predictions what ``answer`` needs to keep a coverage."""

    def answer(self, predicted: Array, calibration: dict[str, Any]) -> Prediction:
        """Turn a model's output, shape (n, k), into answers for people."""

    def describe(self, calibration: dict[str, Any], target: Column) -> str:
        """Say how far the answers reach."""


@dataclass(frozen=True)
class Regression:
    """One number a row, its squared error, and intervals of one width.

    Parameters
    ----------
    possible : tuple of float
        Smallest and largest value of the target that is possible, target units.
    """

    possible: tuple[float, float] = (-math.inf, math.inf)
    primary: str = "rmse"

    def outputs(self, contract: Contract) -> int:
        """One, whatever the contract."""
        return 1

    def loss(self, actual: Array, predicted: Array) -> Array:
        """Squared error of each row; a single output may also have the shape (n,)."""
        return (predicted.reshape(actual.shape) - actual) ** 2

    def score(self, mean_loss: Any) -> Any:
        """Root of the mean squared error, target units."""
        return np.sqrt(mean_loss)

    def calibrate(self, actual: Array, out_of_fold: Array, coverage: float) -> dict[str, Any]:
        """Measure the intervals' half width; see :func:`conformal_width`."""
        width = conformal_width(actual - out_of_fold.reshape(actual.shape), coverage)
        return {
            "coverage": coverage,
            "half_width": width,
            "method": "jackknife, K-fold",
            "rows": len(actual),
        }

    def answer(self, predicted: Array, calibration: dict[str, Any]) -> Prediction:
        """Put an interval around each value; it ends where possible values of the target end."""
        value, half_width = predicted.ravel(), calibration["half_width"]
        lo, hi = self.possible
        lower = np.minimum(np.maximum(value - half_width, lo), hi)
        upper = np.minimum(np.maximum(value + half_width, lo), hi)
        return Prediction(value, lower, upper)

    def describe(self, calibration: dict[str, Any], target: Column) -> str:
        """The coverage of the intervals and their half width."""
        width = show_number(calibration["half_width"], digits(target))
        return f"{calibration['coverage']:.0%} intervals ± {width}"


def task_of(contract: Contract) -> Task:
    """The task that a contract declares."""
    return Regression(contract.target.valid or (-math.inf, math.inf))


def conformal_width(residuals: Array, coverage: float) -> float:
    """Half the width of an interval that holds a new value with probability ``coverage``.

    The ceil((n + 1) · coverage)-th smallest absolute out-of-fold residual, around the model of all
    rows: the K-fold form of the jackknife (Barber, Candès, Ramdas and Tibshirani 2021), with one width
    for all rows. The residuals come from models fitted without their row, so the width does not
    shrink with overfitting. The coverage is not guaranteed for every distribution; `evaluate`
    measures it on the test set.

    Parameters
    ----------
    residuals : ndarray of float64, shape (n,)
        Out-of-fold residuals, target units.
    coverage : float
        Between 0 and 1.

    Raises
    ------
    DataError
        When n is too small for the coverage.

    Examples
    --------
    >>> conformal_width(np.array([3.0, -1.0, 2.0, -4.0]), 0.6)
    3.0
    """
    rank = math.ceil((len(residuals) + 1) * coverage)
    if rank > len(residuals):
        need = math.ceil(coverage / (1 - coverage) - 1e-9)
        problem = f"{len(residuals)} rows are too few for intervals of coverage {coverage:g}"
        raise DataError("the training split", problem, f"At least {need} are needed.")
    return float(np.sort(np.abs(residuals))[rank - 1])
