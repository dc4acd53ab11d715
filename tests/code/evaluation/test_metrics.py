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
from mlref.core.task import Prediction, Regression
from mlref.evaluation import metrics
from mlref.evaluation.metrics import bootstrap, errors, measured, score_interval, share, winkler

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


SETTINGS = Bootstrap(seed=0, resamples=400, confidence=0.95)


def test_the_interval_of_a_skewed_loss_holds_the_truth_more_often_than_percentiles() -> None:
    """Squared errors with tails; 60 rows, 200 times. The percentiles say 95 % and hold 89."""
    samples = np.random.default_rng(3).lognormal(sigma=1.2, size=(200, 60))
    truth = np.exp(1.2**2 / 2)
    found = [score_interval(sample, SETTINGS, score=float) for sample in samples]
    plain = [bootstrap(mean, (sample,), SETTINGS)["mean"] for sample in samples]
    held, before = (
        np.mean([one["lower"] <= truth <= one["upper"] for one in ends]) for ends in (found, plain)
    )
    assert before < 0.9 < held < 0.98
    assert measured(np.zeros(60), samples[0] ** 0.5, SETTINGS, Regression())[
        "rmse"
    ] == pytest.approx({end: value**0.5 for end, value in found[0].items()})


@pytest.mark.parametrize(
    ("losses", "ends"),
    [
        ([4.0] * 20, (2, 2)),
        ([0.0] * 20, (0, 0)),
        ([0.0] * 19 + [1.0], (0.08, (3 / 20) ** 0.5)),  # many resamples are equal: the percentile
    ],
)
def test_equal_losses_have_an_interval_too(losses: list[float], ends: tuple[float, float]) -> None:
    found = score_interval(np.array(losses), SETTINGS)
    assert (found["lower"], found["upper"]) == pytest.approx(ends, abs=0.01)
    assert found["value"] == np.sqrt(np.mean(losses))


def test_one_row_has_an_rmse_whose_interval_is_open() -> None:
    assert measured(np.ones(1), np.zeros(1), SETTINGS, Regression())["rmse"]["upper"] == np.inf


def test_the_winkler_score_is_the_width_and_a_fine_for_each_value_outside() -> None:
    """At 90 % the fine is 20 times the distance."""
    ends = Prediction(np.zeros(4), np.full(4, -1.0), np.array([1.0, 1.0, 1.0, 2.0]))
    found = winkler(np.array([0.0, 1.5, -3.0, 2.0]), ends, 0.9)
    assert found == pytest.approx([2, 2 + 20 * 0.5, 2 + 20 * 2, 3])


@pytest.mark.parametrize("held", [0, 1, 19, 20])
def test_an_exact_interval_of_a_share_is_that_of_the_beta_distribution(held: int) -> None:
    found = share(np.arange(20) < held, 0.95)
    assert found["value"] == held / 20
    lower = betaincinv(held, 21 - held, 0.025) if held else 0
    upper = betaincinv(held + 1, 20 - held, 0.975) if held < 20 else 1
    assert (found["lower"], found["upper"]) == pytest.approx((lower, upper))
