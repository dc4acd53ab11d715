"""The share of intervals that hold the truth, and how surely it is known."""

import numpy as np
import pytest
from scipy.stats import binomtest

from mlref.evaluation.coverage import coverage


@pytest.mark.parametrize("held", [0, 1, 5, 19, 20])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_is_the_exact_one_of_scipy(held: int, confidence: float) -> None:
    """Clopper and Pearson's, from none inside to all."""
    found = coverage(np.arange(20) < held, confidence)
    exact = binomtest(held, 20).proportion_ci(confidence)
    assert found == pytest.approx({"value": held / 20, "lower": exact.low, "upper": exact.high})


def test_all_inside_is_no_certainty() -> None:
    """Eighteen of eighteen are compatible with one in six outside; the bootstrap would say [1, 1]."""
    found = coverage(np.ones(18, dtype=np.bool_), 0.95)
    assert found["value"] == found["upper"] == 1
    assert 0.8 < found["lower"] < 0.83


def test_the_interval_holds_the_truth_at_least_as_often_as_it_says() -> None:
    """Exact intervals err on the safe side."""
    generator = np.random.default_rng(0)
    found = [coverage(generator.random(40) < 0.9, 0.95) for _ in range(500)]
    assert np.mean([one["lower"] <= 0.9 <= one["upper"] for one in found]) >= 0.95
