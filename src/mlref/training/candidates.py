"""The candidates: every kind of model that params.yaml may name, as an unfitted Pipeline."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.linear_model import ElasticNet, LinearRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from mlref.core.contract import Contract
from mlref.core.errors import SettingsError
from mlref.core.rows import Array
from mlref.features import preprocessing

BASELINES = ("mean", "single_feature")
"""Models that every other one must beat."""

NET = partial(ElasticNet, max_iter=100_000, precompute=True)
"""A precomputed Gram matrix, small for few columns, makes a fit up to four times as fast."""

ESTIMATORS: dict[str, Callable[..., Any]] = {
    "mean": DummyRegressor,
    "single_feature": lambda: make_pipeline(SelectKBest(f_regression, k=1), LinearRegression()),
    "ridge": Ridge,
    "elastic_net": NET,
    "elastic_net_interactions": lambda **parameters: make_pipeline(
        PolynomialFeatures(2, interaction_only=True, include_bias=False), NET(**parameters)
    ),
    "gradient_boosting": GradientBoostingRegressor,
    "hist_gradient_boosting": HistGradientBoostingRegressor,
    "random_forest": RandomForestRegressor,
}
"""Estimators by their name in params.yaml. Each must convert to ONNX, or `package` refuses it."""

TREES = (GradientBoostingRegressor, HistGradientBoostingRegressor, RandomForestRegressor)
"""Estimators that take unscaled columns and convert in float32; see ``mlref.features``."""

SLOW = {"gradient_boosting": 50_000, "random_forest": 50_000}
"""Rows beyond which a fit takes minutes, and a model's whole life a hundred of them."""


class LogTarget(RegressorMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A regressor of the target's logarithm that answers in the target's unit.

    Far from the training rows an exponential leaves every scale, so an answer goes beyond the training
    targets by at most half of their range, on the log scale.
    """

    def __init__(self, regressor: Any) -> None:
        self.regressor = regressor

    def fit(self, rows: Array, target: Array) -> "LogTarget":
        """Fit to rows and positive targets, shapes (n, columns) and (n,)."""
        logs = np.log(target)
        reach = float(np.ptp(logs)) / 2
        self.range_ = [float(logs.min()) - reach, float(logs.max()) + reach]
        self.regressor_ = clone(self.regressor).fit(rows, logs)
        return self

    def predict(self, rows: Array) -> Array:
        """Predict in the target's unit, shape (n,)."""
        low, high = self.range_
        return np.exp(np.clip(self.regressor_.predict(rows), low, high))


def estimator(name: str, parameters: Mapping[str, Any], seed: int, transform: str = "none") -> Any:
    """Build an unfitted estimator of preprocessed rows, for the contract's transform of the target.

    Raises
    ------
    SettingsError
        For a model or a parameter that does not exist.
    """
    if name not in ESTIMATORS:
        known = ", ".join(ESTIMATORS)
        raise SettingsError("config/params.yaml", [f"tune.candidates.{name}: allowed: {known}"])
    try:
        built = ESTIMATORS[name](**parameters)
    except TypeError as error:
        raise SettingsError("config/params.yaml", [f"tune.candidates.{name}: {error}"]) from error
    if "random_state" in built.get_params():
        built.set_params(random_state=seed)
    return LogTarget(built) if transform == "log" else built


def build(contract: Contract, name: str, parameters: Mapping[str, Any], seed: int) -> Pipeline:
    """Build an unfitted Pipeline that takes the encoded array, shape (n, features).

    Raises
    ------
    SettingsError
        For a model or a parameter that does not exist.
    """
    built = estimator(name, parameters, seed, contract.target.transform)
    scale = not isinstance(getattr(built, "regressor", built), TREES)
    return Pipeline([("prepare", preprocessing(contract, scale)), ("estimate", built)])
