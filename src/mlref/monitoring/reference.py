"""The reference: what a bundle says of its training rows, its predictions and its errors."""

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from mlref.bundle.predictor import Predictor
from mlref.core.contract import Column, Contract
from mlref.core.rows import Array
from mlref.core.task import task_of

CELLS = 50
"""Equally likely parts into which a distribution is divided; a part is represented by its middle."""
ERRORS = 150
"""The same for errors, whose tails decide the mean loss."""
MIDDLES = (np.arange(CELLS) + 0.5) / CELLS
PREDICTION = "prediction"
"""How the predicted value is named where features are named."""


class Distribution(NamedTuple):
    """A number as training saw it.

    Parameters
    ----------
    cells : ndarray of float64, shape (50,)
        Its quantiles at 1, 3, …, 99 %.
    mean, std : float
        Of all values; a column that never varies has a ``std`` of 1.
    """

    cells: Array
    mean: float
    std: float


class Reference(NamedTuple):
    """What windows are compared with.

    Parameters
    ----------
    contract : Contract
        The bundle's own.
    rows : int
        Training rows, whose number bounds how well anything is known.
    numbers : dict
        Distribution of each feature that is a number, and of the out-of-fold predictions.
    levels : dict
        Training rows of each category's values, in the order of ``allowed``.
    missing, unusual : dict
        Training rows in which a column was null, or outside of its expected range.
    coverage : float
        What the intervals promise.
    bounds : ndarray of float64, shape (2,)
        Where the thirds of the predictions meet, on the scale of the task.
    residuals : ndarray of float64, shape (3, 150), or None
        Quantiles of actual − predicted out of fold on the scale of the task, a row a third; None for a
        bundle without them, whose predictions and losses are shown and not judged.
    """

    contract: Contract
    rows: int
    numbers: dict[str, Distribution]
    levels: dict[str, Array]
    missing: dict[str, float]
    unusual: dict[str, float]
    coverage: float
    bounds: Array
    residuals: Array | None

    def scale(self, values: Any) -> Any:
        """Target units to the scale on which the task measures errors: that of logarithms for some."""
        return np.log(values) if self._log else np.asarray(values)

    def unscale(self, values: Any) -> Any:
        """Back to target units."""
        return np.exp(values) if self._log else np.asarray(values)

    @property
    def _log(self) -> bool:
        return self.contract.target.transform == "log"

    def third(self, value: Array) -> Any:
        """In which third a prediction is: 0, 1 or 2, shape (n,)."""
        return np.searchsorted(self.bounds, self.scale(value), side="left")

    def loss(self, residuals: Array) -> Array:
        """The task's loss of each residual."""
        nothing = self.unscale(np.zeros(residuals.shape))
        return task_of(self.contract).loss(self.unscale(residuals), nothing)

    def losses(self) -> Array:
        """Mean loss out of fold, a third each; NaN where nothing is known."""
        known = np.full((3, 1), np.nan) if self.residuals is None else self.residuals
        means: Array = self.loss(known).mean(axis=1)
        return means


def reference(predictor: Predictor) -> Reference:
    """Read the reference of a loaded bundle; a date has none, since time goes on."""
    contract, profile, intervals = predictor.contract, predictor.profile, predictor.intervals
    rows = int(profile["rows"])
    known = {name: one for name in contract.names if (one := profile["columns"].get(name))}
    features = [column for column in contract.features if column.name in known]
    numbers = {
        column.name: _measured(known[column.name])
        for column in features
        if "quantiles" in known[column.name] and column.type != "date"
    }
    levels = {
        column.name: rows * np.array([*known[column.name]["shares"].values()])
        for column in features
        if column.allowed is not None
    }
    missing = {name: rows * float(one["null_share"]) for name, one in known.items()}
    unusual = {one.name: rows * _outside(one, numbers) for one in features if one.expected}
    bare = Reference(
        contract, rows, numbers, levels, missing, unusual, float(intervals["coverage"]),
        np.full(2, np.inf), None,
    )  # fmt: skip
    if not (out_of_fold := intervals.get("out_of_fold")):
        return bare
    cells = bare.unscale(_spread(out_of_fold["predictions"], rows))
    numbers[PREDICTION] = Distribution(cells, float(cells.mean()), float(cells.std()) or 1.0)
    residuals = [_spread(one, rows // 3, ERRORS) for one in out_of_fold["residuals"]]
    return bare._replace(bounds=np.array(intervals["bounds"]), residuals=np.array(residuals))


def _measured(known: Mapping[str, Any]) -> Distribution:
    quantiles = known["quantiles"]
    coarse = np.interp(MIDDLES, [*map(float, quantiles)], [*quantiles.values()])
    cells = np.array(known.get("percentiles") or coarse, dtype=np.float64)
    return Distribution(cells, float(known["mean"]), float(known["std"]) or 1.0)


def _spread(quantiles: list[float], rows: int, cells: int = CELLS) -> Array:
    """Quantiles of evenly spaced shares, the first and the last of them extremes of so many rows.

    Interpolated over the normal distribution's own quantiles: between straight lines the tails would be
    too heavy, and the mean square of a normal error a tenth too large.
    """
    normal = NormalDist().inv_cdf
    shares = np.linspace(0, 1, len(quantiles)).clip(0.5 / max(rows, 1), 1 - 0.5 / max(rows, 1))
    middles = (np.arange(cells) + 0.5) / cells
    return np.interp([*map(normal, middles)], [*map(normal, shares)], quantiles)


def _outside(column: Column, numbers: Mapping[str, Distribution]) -> float:
    """The share of training rows outside of a column's expected range."""
    lo, hi = column.expected or (-np.inf, np.inf)
    cells = numbers[column.name].cells
    return float(((cells < lo) | (cells > hi)).mean())
