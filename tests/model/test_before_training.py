"""Checks that need no trained model: that each candidate can learn at all, and only what it should."""

from typing import Any

import numpy as np
import pytest

from mlref.core.rows import generate
from mlref.training.candidates import ESTIMATORS, build
from tests.fakes import CONTRACT, linear

ROWS = generate(CONTRACT, 80, seed=0)
TARGET = linear(ROWS)
SMALL: dict[str, dict[str, Any]] = {
    "gradient_boosting": {"n_estimators": 10, "max_features": 2},
    "hist_gradient_boosting": {"max_iter": 30},
    "random_forest": {"n_estimators": 10, "max_features": 2},
}
DRAWN = ("gradient_boosting", "random_forest")
"""Those that draw rows or columns at random."""
OVERFIT: dict[str, dict[str, Any]] = {
    "ridge": {"alpha": 1e-6},
    "elastic_net": {"alpha": 1e-6},
    "gradient_boosting": {"n_estimators": 300},
    "random_forest": {"n_estimators": 50, "bootstrap": False},
}
"""Settings with which a candidate can learn five rows by heart."""


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("count", [1, 80])
def test_one_finite_number_comes_out_for_each_row(name: str, count: int) -> None:
    model = build(CONTRACT, name, SMALL.get(name, {}), 0).fit(ROWS, TARGET)
    predicted = model.predict(ROWS[:count])
    assert predicted.shape == (count,)
    assert np.isfinite(predicted).all()


@pytest.mark.parametrize("name", OVERFIT)
def test_a_model_can_learn_five_rows_by_heart(name: str) -> None:
    """One that cannot has a defect between data and estimator."""
    model = build(CONTRACT, name, OVERFIT[name], 0).fit(ROWS[:5], TARGET[:5])
    assert model.predict(ROWS[:5]) == pytest.approx(TARGET[:5], rel=0.01)


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - {"mean"}))
def test_learning_lowers_the_error(name: str) -> None:
    later = generate(CONTRACT, 200, seed=1)
    model = build(CONTRACT, name, SMALL.get(name, {}), 0).fit(ROWS, TARGET)
    error = np.abs(model.predict(later) - linear(later)).mean()
    assert error < np.abs(TARGET.mean() - linear(later)).mean()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_seed_determines_the_model(name: str) -> None:
    """Another one decides otherwise where anything is drawn."""
    one, same, other = (
        build(CONTRACT, name, SMALL.get(name, {}), seed).fit(ROWS, TARGET).predict(ROWS).tolist()
        for seed in (7, 7, 8)
    )
    assert one == same
    assert (one == other) == (name not in DRAWN)


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - set(DRAWN)))
def test_the_order_of_training_rows_does_not_matter(name: str) -> None:
    order = np.random.default_rng(0).permutation(len(ROWS))
    settings = SMALL.get(name, {})
    one = build(CONTRACT, name, settings, 0).fit(ROWS, TARGET)
    other = build(CONTRACT, name, settings, 0).fit(ROWS[order], TARGET[order])
    assert other.predict(ROWS) == pytest.approx(one.predict(ROWS), rel=1e-4)


def test_the_mean_ignores_the_features() -> None:
    model = build(CONTRACT, "mean", {}, 0).fit(ROWS, TARGET)
    assert set(model.predict(generate(CONTRACT, 50, seed=2))) == {TARGET.mean()}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_fitting_leaves_the_rows_as_they_are(name: str) -> None:
    """The same array goes to the next fold."""
    before = ROWS.copy()
    build(CONTRACT, name, SMALL.get(name, {}), 0).fit(ROWS, TARGET).predict(ROWS)
    assert np.array_equal(ROWS, before, equal_nan=True)
