"""Metrics and their bootstrap intervals."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import betaincinv
from sklearn import metrics as reference

from mlref.core.rows import Array
from mlref.core.settings import Bootstrap
from mlref.evaluation import metrics
from mlref.evaluation.metrics import bootstrap, errors, share

VALUES = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda value: round(value, 3))
PAIRS = st.integers(2, 30).flatmap(lambda n: hnp.arrays(float, (2, n), elements=VALUES))
NORMAL = np.random.default_rng(1).normal(size=40)


def mean(values: Array) -> dict[str, Array]:
    """The simplest statistic."""
    return {"mean": values.mean(axis=-1)}


def interval(values: Array = NORMAL, **changed: Any) -> dict[str, float]:
    """The mean of a sample with its interval."""
    settings = {"seed": 0, "resamples": 200, "confidence": 0.95} | changed
    return bootstrap(mean, (values,), Bootstrap(**settings))["mean"]


@hypothesis_settings(max_examples=30)
@given(PAIRS)
def test_the_metrics_are_those_of_scikit_learn_and_of_each_of_many_samples(pair: Array) -> None:
    """The last axis holds the rows; R² is known only where the actual values differ."""
    actual, predicted = pair
    found = errors(actual, predicted)
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(actual, predicted))
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(actual, predicted))
    median = reference.median_absolute_error(actual, predicted)
    assert found["median_error"] == pytest.approx(median)
    assert found["bias"] == pytest.approx(np.mean(predicted - actual))
    r2 = reference.r2_score(actual, predicted) if np.ptp(actual) > 0 else np.nan
    assert found["r2"] == pytest.approx(r2, nan_ok=True)
    both = errors(pair, pair[::-1])
    for name, value in found.items():
        assert both[name][0] == pytest.approx(value, nan_ok=True)


def test_a_sample_without_spread_has_an_unknown_r2_and_no_warning() -> None:
    settings = Bootstrap(seed=0, resamples=200, confidence=0.95)
    found = bootstrap(errors, (np.ones(12), np.arange(12.0)), settings)
    assert np.isnan([found["r2"][end] for end in ("value", "lower", "upper")]).all()
    assert found["rmse"]["lower"] < found["rmse"]["value"] < found["rmse"]["upper"]


def test_the_interval_is_seeded_and_grows_with_the_confidence() -> None:
    assert interval() == interval() != interval(seed=1)
    narrow, wide = interval(confidence=0.5), interval()
    assert wide["lower"] < narrow["lower"] < narrow["value"] == wide["value"] < narrow["upper"]
    assert narrow["upper"] < wide["upper"]


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(confidence: float) -> None:
    """The mean of 60 normal values, 200 times."""
    samples = np.random.default_rng(2).normal(size=(200, 60))
    found = [interval(sample, confidence=confidence) for sample in samples]
    held = np.mean([one["lower"] <= 0 <= one["upper"] for one in found])
    assert held == pytest.approx(confidence, abs=0.08)


def test_paired_samples_are_resampled_with_the_same_rows() -> None:
    """A constant difference has no uncertainty."""
    settings = Bootstrap(seed=0, resamples=200, confidence=0.95)
    found = bootstrap(lambda one, other: mean(one - other), (NORMAL + 2, NORMAL), settings)
    assert found["mean"] == pytest.approx({"value": 2, "lower": 2, "upper": 2})


@pytest.mark.parametrize("cells", [1, 1_000])
def test_how_many_resamples_are_held_at_once_changes_no_metric(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = interval()
    monkeypatch.setattr(metrics, "CELLS", cells)
    assert interval() == whole


def test_one_row_says_nothing() -> None:
    assert interval(np.ones(1)) == {"value": 1, "lower": -np.inf, "upper": np.inf}


@pytest.mark.parametrize("held", [0, 1, 19, 20])
def test_an_exact_interval_of_a_share_is_that_of_the_beta_distribution(held: int) -> None:
    found = share(np.arange(20) < held, 0.95)
    assert found["value"] == held / 20
    lower = betaincinv(held, 21 - held, 0.025) if held else 0
    upper = betaincinv(held + 1, 20 - held, 0.975) if held < 20 else 1
    assert (found["lower"], found["upper"]) == pytest.approx((lower, upper))
