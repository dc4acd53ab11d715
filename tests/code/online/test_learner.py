"""The learner alone: plain stochastic gradient descent, its guards, and what is no linear model."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from mlref.core.errors import MlrefError
from mlref.core.settings import Online
from mlref.online.learner import Learner, take_apart
from mlref.registry.learned import Event
from mlref.training.candidates import LogTarget
from tests.conftest import Told

SETTINGS = Online(
    batch=10, rate=0.02, settle=0, quota=1000, fading=0.99, label_coverage=0.2, largest_shift=1.0,
    largest_step=2.0,
)  # fmt: skip
CALIBRATION = {"out_of_fold": {"residuals": [np.linspace(-2, 2, 21).tolist()] * 3}}
WEIGHTS = np.array([1.0, -2.0, 0.5])


def rows(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(count, 3))


def champion(estimate: Any) -> Pipeline:
    """Fitted to 200 rows of a linear relation with noise of one."""
    inputs = rows(200)
    truth = 20 + inputs @ WEIGHTS + np.random.default_rng(1).normal(size=200)
    model = Pipeline([("prepare", StandardScaler()), ("estimate", estimate)])
    return model.fit(inputs, truth)


def events(model: Pipeline, count: int, level: float = 0.0, seed: int = 2) -> list[Event]:
    """Labels of new rows, after a change of the level."""
    inputs, draw = rows(count, seed), np.random.default_rng(seed + 1)
    truth = 20 + inputs @ WEIGHTS + level + draw.normal(size=count)
    answers = model.predict(inputs)
    names = [f"{seed} {at}" for at in range(count)]
    parts = names, names, inputs.tolist(), answers.tolist(), truth.tolist()
    return [Event(at, *part, "", 0.0) for at, part in enumerate(zip(*parts, strict=True))]


@pytest.mark.parametrize(
    "estimate",
    [
        LinearRegression(),
        Ridge(),
        make_pipeline(PolynomialFeatures(2, interaction_only=True, include_bias=False), Ridge()),
        LogTarget(Ridge()),
    ],
    ids=("plain", "ridge", "interactions", "logarithm"),
)
def test_linear_champions_learn_a_change(estimate: Any) -> None:
    model = champion(estimate)
    small = {"out_of_fold": {"residuals": [(np.linspace(-2, 2, 21) / 20).tolist()] * 3}}
    known = small if isinstance(estimate, LogTarget) else CALIBRATION
    learner, inputs = Learner(model, "it", known, SETTINGS), rows(500, 5)
    before = model.predict(inputs).mean()
    assert learner.follow(events(model, 300)) and learner.detectors["bias"].width == 300
    done = learner.follow(events(model, 500, level=0.9, seed=7))
    assert all(event.scored for event in done) and len([e for e in done if not e.why]) > 450
    assert 0.5 < learner.model().predict(inputs).mean() - before < 1.3
    mean, error = learner.comparison.difference()
    assert mean + 2 * error < 0
    assert 300 < learner.detectors["bias"].width < 600, "the rows since the change"


def test_it_is_plain_gradient_descent_from_the_weights_of_the_champion() -> None:
    model = champion(Ridge())
    weights, bias = model[-1].coef_.copy(), float(model[-1].intercept_)
    learner = Learner(model, "ridge", CALIBRATION, SETTINGS)
    taken = events(model, 20)
    done = learner.follow(taken)
    for start in (0, 10):
        inputs = model[0].transform([event.row for event in taken[start : start + 10]])
        scored = [event.scored for event in done[start : start + 10]]
        np.testing.assert_allclose(scored, inputs @ weights + bias, rtol=1e-12)
        for row, event in zip(inputs, taken[start : start + 10], strict=True):
            error = event.label - (row @ weights + bias)
            weights, bias = weights + SETTINGS.rate * error * row, bias + SETTINGS.rate * error
    np.testing.assert_allclose(learner.model()[-1].coef_, weights, rtol=1e-9)
    np.testing.assert_allclose(learner.model()[-1].intercept_, bias, rtol=1e-9)


def test_a_model_that_is_not_linear_is_refused_by_name(told: Told) -> None:
    model = champion(GradientBoostingRegressor(n_estimators=2))
    with pytest.raises(MlrefError) as refused:
        take_apart(model, "gradient_boosting")
    told(refused.value)


@pytest.mark.parametrize(
    ("settings", "level", "factor", "why"),
    [
        ({}, 4.0, 1.0, "shift"),
        ({"rate": 0.2, "largest_step": 0.05}, 0.0, 1.0, "step"),
        ({"rate": 0.99, "largest_step": 0.05}, 0.0, 1.0, "step"),
        ({}, 0.0, 1e200, "step"),
    ],
    ids=("another unit", "fast", "very fast", "weights that are no numbers"),
)
def test_a_batch_that_would_spoil_the_weights_is_not_learned(
    settings: dict[str, Any], level: float, factor: float, why: str
) -> None:
    model = champion(Ridge())
    learner = Learner(model, "ridge", CALIBRATION, SETTINGS.model_copy(update=settings))
    before = learner.state()["weights"]
    with np.errstate(over="ignore", invalid="ignore"):
        done = learner.follow([
            event._replace(row=[factor * cell for cell in event.row if cell is not None])
            for event in events(model, 30, level)
        ])  # fmt: skip
    assert {event.why for event in done} == {why} and learner.state()["weights"] == before
    assert learner.detectors["bias"].width == (0 if why == "shift" else 30)


def test_a_learner_that_is_shown_worse_goes_back_to_its_last_good_weights() -> None:
    """A rate that is too fast learns noise."""
    model = champion(Ridge())
    fast = SETTINGS.model_copy(update={"rate": 0.3, "largest_step": 50.0})
    learner = Learner(model, "it", CALIBRATION, fast)
    done = learner.follow(events(model, 600))
    assert (
        learner.resets > 0 and np.isfinite([event.scored for event in done if event.scored]).all()
    )
