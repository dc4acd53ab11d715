"""Metrics and their bootstrap intervals."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import betaincinv
from sklearn import metrics as reference

from mlref.core.rows import Array
from mlref.core.settings import Bootstrap
from mlref.evaluation import metrics
from mlref.evaluation.metrics import bootstrap, errors, share

VALUES = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda value: round(value, 3))
PAIRS = st.integers(2, 30).flatmap(
    lambda n: st.tuples(
        hnp.arrays(float, n, elements=VALUES), hnp.arrays(float, n, elements=VALUES)
    )
)


def knobs(**changed: Any) -> Bootstrap:
    """Small settings."""
    return Bootstrap(**{"seed": 0, "resamples": 200, "confidence": 0.95} | changed)


def mean(values: Array) -> dict[str, Array]:
    """The simplest statistic."""
    return {"mean": values.mean(axis=-1)}


@given(PAIRS)
def test_the_metrics_are_those_of_scikit_learn(pair: tuple[Array, Array]) -> None:
    """On any data; R² only where the actual values differ."""
    actual, predicted = pair
    found = errors(actual, predicted)
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(actual, predicted))
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(actual, predicted))
    assert found["median_error"] == pytest.approx(
        reference.median_absolute_error(actual, predicted)
    )
    assert found["bias"] == pytest.approx(np.mean(predicted - actual))
    if np.ptp(actual) > 0:
        assert found["r2"] == pytest.approx(reference.r2_score(actual, predicted))
    else:
        assert np.isnan(found["r2"])


@given(PAIRS)
def test_metrics_of_many_samples_are_those_of_each(pair: tuple[Array, Array]) -> None:
    """The last axis holds the rows, the others are independent."""
    actual, predicted = pair
    both = errors(np.stack([actual, predicted]), np.stack([predicted, actual]))
    for name, value in errors(actual, predicted).items():
        assert both[name][0] == pytest.approx(value, nan_ok=True)


def test_a_perfect_prediction_has_no_error() -> None:
    """And explains everything."""
    actual = np.array([1.0, 2.0, 4.0])
    found = {name: float(value) for name, value in errors(actual, actual).items()}
    assert found == {"rmse": 0, "mae": 0, "r2": 1, "median_error": 0, "bias": 0}


def test_one_row_has_errors_and_no_r2() -> None:
    """One value has no spread to explain."""
    found = errors(np.array([3.0]), np.array([5.0]))
    assert (found["rmse"], found["mae"], found["bias"]) == (2, 2, 2)
    assert np.isnan(found["r2"])


def test_a_constant_target_has_intervals_for_all_but_r2() -> None:
    """A slice may hold equal values only; its R² is unknown, with no warning."""
    found = bootstrap(errors, (np.ones(12), np.arange(12.0)), knobs())
    assert np.isnan([found["r2"][end] for end in ("value", "lower", "upper")]).all()
    assert found["rmse"]["lower"] < found["rmse"]["value"] < found["rmse"]["upper"]


def test_the_bias_says_in_which_direction() -> None:
    """Positive: predicted too high."""
    assert errors(np.zeros(2), np.array([1.0, 2.0]))["bias"] == 1.5


def test_the_interval_is_seeded() -> None:
    """The same seed, the same interval; another seed, another one."""
    values = np.random.default_rng(1).normal(size=40)
    assert bootstrap(mean, (values,), knobs()) == bootstrap(mean, (values,), knobs())
    assert bootstrap(mean, (values,), knobs()) != bootstrap(mean, (values,), knobs(seed=1))


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(confidence: float) -> None:
    """The mean of 60 normal values, 300 times."""
    generator = np.random.default_rng(2)
    found = [
        bootstrap(mean, (generator.normal(size=60),), knobs(confidence=confidence, seed=seed))[
            "mean"
        ]
        for seed in range(300)
    ]
    held = np.mean([interval["lower"] <= 0 <= interval["upper"] for interval in found])
    assert held == pytest.approx(confidence, abs=0.08)


def test_more_confidence_makes_a_wider_interval() -> None:
    """Around the same point."""
    values = np.random.default_rng(3).normal(size=40)
    narrow, wide = (
        bootstrap(mean, (values,), knobs(confidence=confidence))["mean"]
        for confidence in (0.5, 0.95)
    )
    assert wide["lower"] < narrow["lower"] < narrow["value"] == wide["value"] < narrow["upper"]
    assert narrow["upper"] < wide["upper"]


def test_paired_samples_are_resampled_with_the_same_rows() -> None:
    """A constant difference has no uncertainty."""
    values = np.random.default_rng(4).normal(size=30)
    found = bootstrap(lambda one, other: mean(one - other), (values + 2, values), knobs())
    assert found["mean"] == pytest.approx({"value": 2, "lower": 2, "upper": 2})


@pytest.mark.parametrize("cells", [1, 1_000])
def test_how_many_resamples_are_held_at_once_changes_no_figure(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(5).normal(size=30)
    whole = bootstrap(mean, (values,), knobs())
    monkeypatch.setattr(metrics, "CELLS", cells)
    assert bootstrap(mean, (values,), knobs()) == whole


def test_one_row_says_nothing() -> None:
    found = bootstrap(mean, (np.ones(1),), knobs())["mean"]
    assert found == {"value": 1, "lower": -np.inf, "upper": np.inf}


@pytest.mark.parametrize("held", [0, 1, 19, 20])
def test_an_exact_interval_of_a_share_is_that_of_the_beta_distribution(held: int) -> None:
    found = share(np.arange(20) < held, 0.95)
    assert found["value"] == held / 20
    lower = betaincinv(held, 21 - held, 0.025) if held else 0
    upper = betaincinv(held + 1, 20 - held, 0.975) if held < 20 else 1
    assert (found["lower"], found["upper"]) == pytest.approx((lower, upper))


def test_an_exact_interval_holds_the_truth_at_least_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    found = [share(generator.random(40) < 0.9, 0.95) for _ in range(300)]
    assert np.mean([one["lower"] <= 0.9 <= one["upper"] for one in found]) >= 0.95
