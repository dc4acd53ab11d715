"""The candidates: every kind of model that params.yaml may name, as an unfitted Pipeline."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sklearn.dummy import DummyRegressor
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.linear_model import ElasticNet, LinearRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from mlref.core.contract import Contract
from mlref.core.errors import SettingsError
from mlref.features import preprocessing

BASELINES = ("mean", "single_feature")
"""Models that every other one must beat."""

NET = partial(ElasticNet, max_iter=100_000, precompute=True)
"""With products of all columns by each other, which are few, a fit is up to four times as fast."""

ESTIMATORS: dict[str, Callable[..., Any]] = {
    "mean": DummyRegressor,
    "single_feature": lambda: make_pipeline(SelectKBest(f_regression, k=1), LinearRegression()),
    "ridge": Ridge,
    "elastic_net": NET,
    "elastic_net_interactions": lambda **parameters: make_pipeline(
        PolynomialFeatures(2, interaction_only=True, include_bias=False), NET(**parameters)
    ),
    "gradient_boosting": GradientBoostingRegressor,
    "random_forest": RandomForestRegressor,
}
"""Name in params.yaml to estimator. What is added here must convert to ONNX; package tells."""

TREES = (GradientBoostingRegressor, RandomForestRegressor)
"""Estimators that take unscaled columns and convert in float32; see ``mlref.features``."""


def estimator(name: str, parameters: Mapping[str, Any], seed: int) -> Any:
    """Build an unfitted estimator of preprocessed rows.

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
    return built


def build(contract: Contract, name: str, parameters: Mapping[str, Any], seed: int) -> Pipeline:
    """Build an unfitted Pipeline that takes the encoded array, shape (n, features).

    Raises
    ------
    SettingsError
        For a model or a parameter that does not exist.
    """
    built = estimator(name, parameters, seed)
    scale = not isinstance(built, TREES)
    return Pipeline([("prepare", preprocessing(contract, scale)), ("estimate", built)])
