"""Tasks: a loss for each row, a score of the mean loss, and answers with a stated coverage.

A model's output has the shape (n, k). Comparison, gate, importance, slices and learning curves know
the losses of the rows and nothing else, so that another kind of task changes none of them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mlref.core.contract import Column, Contract
from mlref.core.digits import digits, show_number
from mlref.core.errors import DataError
from mlref.core.rows import Array, Mask

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Coverages at which the reliability of intervals is measured."""

PERCENTS = np.linspace(0, 1, 21)
"""Where the quantiles of out-of-fold predictions and residuals are kept: 0, 5, …, 100 %."""


class Prediction(NamedTuple):
    """Predicted values of n rows and their intervals: float64, shape (n,), target units."""

    value: Array
    lower: Array
    upper: Array

    def holds(self, actual: Array) -> Mask:
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

    @property
    def title(self) -> str:
        """That score as sentences name it."""

    def outputs(self, contract: Contract) -> int:
        """How many numbers a model gives for a row: k."""

    def loss(self, actual: Array, predicted: Array) -> Array:
        """Loss of each row, shape (n,), of predictions of shape (n, k)."""

    def score(self, mean_loss: Any) -> Any:
        """The primary score that belongs to a mean loss, elementwise."""

    def calibrate(self, actual: Array, out_of_fold: Array, coverage: float) -> dict[str, Any]:
        """Measure on out-of-fold predictions what ``answer`` needs to keep a coverage.

        ``levels`` has by coverage what to put in its place for another coverage.
        """

    def answer(self, predicted: Array, calibration: dict[str, Any]) -> Prediction:
        """Turn a model's output, shape (n, k), into answers for people."""

    def parts(self, predicted: Array, calibration: dict[str, Any]) -> Iterator[tuple[str, Mask]]:
        """Name and rows of each part that was calibrated by itself."""

    def describe(self, calibration: dict[str, Any], target: Column) -> str:
        """Say how far the answers reach."""


@dataclass(frozen=True)
class Regression:
    """One number a row, its squared error, and intervals with a width for each third of the predictions.

    Parameters
    ----------
    possible : tuple of float
        Smallest and largest value of the target that is possible, target units.
    """

    possible: tuple[float, float] = (-math.inf, math.inf)
    primary: str = "rmse"
    title: str = "RMSE"

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
        """Measure a half width for each third of the out-of-fold predictions.

        Conformal by group (Boström and Johansson 2020): errors often grow with the prediction, and one
        width would then hold too many of the low values and too few of the high ones. A third with too
        few rows for the coverage, as where all predictions are equal, gets the width of all rows.
        """
        predicted = out_of_fold.reshape(actual.shape)
        residuals, bounds = actual - predicted, np.quantile(predicted, [1 / 3, 2 / 3])
        parts = [residuals[_third(predicted, bounds) == place] for place in range(3)]

        def _widths(coverage: float) -> list[float]:
            least, everywhere = rows_needed(coverage), conformal_width(residuals, coverage)
            return [
                conformal_width(part, coverage) if len(part) >= least else everywhere
                for part in parts
            ]

        return {
            "coverage": coverage, "method": "jackknife, K-fold, by thirds of the prediction",
            "rows": len(actual), "bounds": bounds.tolist(), "half_widths": _widths(coverage),
            "levels": {
                str(level): {"half_widths": _widths(level)}
                for level in LEVELS if len(actual) >= rows_needed(level)
            },
            "out_of_fold": {
                "predictions": np.quantile(predicted, PERCENTS).tolist(),
                "residuals": [
                    np.quantile(part if len(part) else residuals, PERCENTS).tolist()
                    for part in parts
                ],
            },
        }  # fmt: skip

    def answer(self, predicted: Array, calibration: dict[str, Any]) -> Prediction:
        """Put the interval of its third around each value; it ends where possible values do."""
        value, (lo, hi) = predicted.ravel(), self.possible
        half = np.asarray(calibration["half_widths"])[_third(value, calibration["bounds"])]
        lower = np.minimum(np.maximum(value - half, lo), hi)
        upper = np.minimum(np.maximum(value + half, lo), hi)
        return Prediction(value, lower, upper)

    def parts(self, predicted: Array, calibration: dict[str, Any]) -> Iterator[tuple[str, Mask]]:
        """The thirds of the predictions, ``low``, ``middle`` and ``high``."""
        third = _third(predicted.ravel(), calibration["bounds"])
        for place, name in enumerate(("low", "middle", "high")):
            yield name, third == place

    def describe(self, calibration: dict[str, Any], target: Column) -> str:
        """The coverage of the intervals and their half widths."""
        shown = (show_number(width, digits(target)) for width in calibration["half_widths"])
        return f"{calibration['coverage']:.0%} intervals ± {' / '.join(shown)} by thirds"


@dataclass(frozen=True)
class LogRegression(Regression):
    """A positive number a row; the squared error of its logarithm, and intervals that are equal ratios.

    Models answer in the target's unit. The point is the median, where the logarithm is symmetric.
    Calibration holds logarithms, and says so with ``"scale": "log"``.
    """

    primary: str = "rmse_log"
    title: str = "RMSE of the logarithm"

    def loss(self, actual: Array, predicted: Array) -> Array:
        """Squared error of each row's natural logarithm."""
        return super().loss(np.log(actual), np.log(predicted))

    def calibrate(self, actual: Array, out_of_fold: Array, coverage: float) -> dict[str, Any]:
        """Measure the intervals on the logarithms."""
        return super().calibrate(np.log(actual), np.log(out_of_fold), coverage) | {"scale": "log"}

    def answer(self, predicted: Array, calibration: dict[str, Any]) -> Prediction:
        """Put the interval around each logarithm, and transform its ends back."""
        _, lower, upper = super().answer(np.log(predicted), calibration)
        return Prediction(predicted.ravel(), np.exp(lower), np.exp(upper))

    def parts(self, predicted: Array, calibration: dict[str, Any]) -> Iterator[tuple[str, Mask]]:
        """The thirds of the predictions, whose bounds are logarithms."""
        yield from super().parts(np.log(predicted), calibration)

    def describe(self, calibration: dict[str, Any], target: Column) -> str:
        """The coverage of the intervals and the factors by which they reach."""
        factors = " / ".join(f"{math.exp(width):.3g}" for width in calibration["half_widths"])
        return f"{calibration['coverage']:.0%} intervals × or ÷ {factors} by thirds"


def task_of(contract: Contract) -> Task:
    """The task that a contract declares."""
    target = contract.target
    if target.transform == "log":
        lo, hi = target.bounds
        return LogRegression((math.log(lo), math.log(hi)))
    return Regression(contract.target.valid or (-math.inf, math.inf))


def _third(predicted: Array, bounds: Any) -> NDArray[np.intp]:
    """0, 1 or 2 for each prediction; counting takes half the time of a binary search."""
    first, second = bounds
    third: NDArray[np.intp] = np.add(predicted > first, predicted > second, dtype=np.intp)
    return third


def conformal_width(residuals: Array, coverage: float) -> float:
    """Half the width of an interval that holds a new value with probability ``coverage``.

    The ceil((n + 1) · coverage)-th smallest absolute out-of-fold residual, around the model of all
    rows: the K-fold form of the jackknife (Barber, Candès, Ramdas and Tibshirani 2021). The residuals
    come from models fitted without their row, so the width does not shrink with overfitting. The
    coverage is not guaranteed for every distribution; `evaluate` measures it on the test set.

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
        problem = f"{len(residuals)} rows are too few for intervals of coverage {coverage:g}"
        need = f"At least {rows_needed(coverage)} are needed."
        raise DataError("the training split", problem, need)
    return float(np.sort(np.abs(residuals))[rank - 1])


def rows_needed(coverage: float) -> int:
    """Fewest residuals of which one is large enough for the coverage.

    Examples
    --------
    >>> rows_needed(0.9), rows_needed(0.95)
    (9, 19)
    """
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def heavy_tail(values: Array) -> bool:
    """Whether positive values, shape (n,), are skewed and their logarithms much less so.

    Examples
    --------
    >>> heavy_tail(np.exp(np.linspace(-3, 3, 99))), heavy_tail(np.linspace(1, 9, 99))
    (True, False)
    """
    if len(values) < 3 or not (values.min() > 0 and np.ptp(values) > 0):
        return False
    plain, logs = (
        float((((x - x.mean()) / x.std()) ** 3).mean()) for x in (values, np.log(values))
    )
    return plain > 1.5 and abs(logs) < plain / 2
