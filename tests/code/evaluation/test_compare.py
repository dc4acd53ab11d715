"""Two models on the same rows."""

import numpy as np
import pytest

from mlref.core.settings import Bootstrap, Gate
from mlref.core.task import Regression
from mlref.evaluation.compare import compare, score_difference, slice_difference
from tests.projects import PARAMS

TASK = Regression()
SETTINGS = Bootstrap(seed=0, resamples=500, confidence=0.95)
GENERATOR = np.random.default_rng(0)
ACTUAL = GENERATOR.normal(100, 20, 80)
NOISE = GENERATOR.normal(0, 10, 80)
OTHER = np.random.default_rng(1).normal(0, 10, 80)


def test_a_clearly_better_model_has_an_interval_below_zero_which_turns_with_the_models() -> None:
    one, other = ACTUAL + NOISE / 2, ACTUAL + NOISE
    forth = score_difference(ACTUAL, one, other, SETTINGS, TASK)
    back = score_difference(ACTUAL, other, one, SETTINGS, TASK)
    assert forth["lower"] < forth["value"] < forth["upper"] < 0
    assert back["value"] == -forth["value"]
    assert back["lower"] == pytest.approx(-forth["upper"])


def test_a_model_equals_itself_and_models_of_equal_quality_cannot_be_told_apart() -> None:
    same = score_difference(ACTUAL, ACTUAL + NOISE, ACTUAL + NOISE, SETTINGS, TASK)
    assert same == {"value": 0, "lower": 0, "upper": 0}
    found = score_difference(ACTUAL, ACTUAL + NOISE, ACTUAL + OTHER, SETTINGS, TASK)
    assert found["lower"] < 0 < found["upper"]


def test_pairing_tells_what_separate_intervals_cannot() -> None:
    """Two models that err on the same rows differ by little and surely."""
    found = score_difference(ACTUAL, ACTUAL + NOISE, ACTUAL + 1.05 * NOISE, SETTINGS, TASK)
    assert found["upper"] < 0
    assert found["value"] == pytest.approx(-0.05 * np.sqrt(np.mean(NOISE**2)))


GATE = Gate(**PARAMS["register"] | {"smallest_slice": 20})
FIRST = np.arange(80) < 40
SLICES = {"first": FIRST, "second": ~FIRST, "rare": np.arange(80) < 19}


def test_two_models_are_compared_on_all_rows_and_on_each_slice_that_is_large_enough() -> None:
    worse_on_first = ACTUAL + NOISE * np.where(FIRST, 1.5, 0.3)
    found = compare(ACTUAL, worse_on_first, ACTUAL + NOISE, SLICES, GATE, TASK)
    first, second = found.slices["first"], found.slices["second"]
    assert found.rows == 80
    assert found.champion == pytest.approx(np.sqrt(np.mean(NOISE**2)))
    assert found.difference == score_difference(ACTUAL, worse_on_first, ACTUAL + NOISE, GATE, TASK)
    assert first and first["lower"] > 0
    assert second and second["upper"] < 0
    assert found.slices["rare"] is None
    assert compare(ACTUAL, ACTUAL + NOISE, ACTUAL, {}, GATE, TASK).slices == {}


def test_of_two_equal_models_one_looks_worse_on_ten_rows_in_a_twentieth_of_the_cases() -> None:
    """A percentile bootstrap would say so twice as often."""
    generator, worse = np.random.default_rng(5), []
    for _ in range(400):
        actual, one, other = generator.normal(0, 10, (3, 10))
        worse.append(slice_difference(actual, one, other, GATE, TASK)["lower"] > 0)
    assert np.mean(worse) == pytest.approx(0.05, abs=0.025)


def test_the_margin_of_a_slice_is_a_share_of_the_champion_s_error_there() -> None:
    found = slice_difference(ACTUAL, ACTUAL + 1.04 * NOISE, ACTUAL + NOISE, GATE, TASK)
    assert found["margin"] == pytest.approx(0.05 * np.sqrt(np.mean(NOISE**2)))
    assert 0 < found["lower"] < found["value"] < found["margin"]


@pytest.mark.parametrize(("off", "same"), [(1e-12, True), (1e-4, False)])
def test_what_differs_by_rounding_alone_is_the_same(off: float, same: bool) -> None:
    """Else a model that was packaged in another way would be worse, by nothing and with certainty."""
    found = compare(ACTUAL, ACTUAL + NOISE * (1 + off), ACTUAL + NOISE, SLICES, GATE, TASK)
    assert (found.difference == {"value": 0.0, "lower": 0.0, "upper": 0.0}) == same
    first = found.slices["first"]
    assert first and (first["lower"] > 0) != same
