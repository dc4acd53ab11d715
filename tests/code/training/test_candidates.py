"""The candidates that params.yaml may name."""

from typing import Any

import numpy as np
import pytest

from mlref.core.errors import SettingsError
from mlref.core.rows import generate
from mlref.training.candidates import BASELINES, ESTIMATORS, TREES, build
from tests.fakes import CONTRACT, linear

ROWS = generate(CONTRACT, 60, seed=3)
TARGET = linear(ROWS)
SMALL: dict[str, dict[str, Any]] = {
    "gradient_boosting": {"n_estimators": 5},
    "random_forest": {"n_estimators": 5},
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_candidate_fits_and_predicts_one_finite_number_a_row(name: str) -> None:
    """On rows with nulls and categories."""
    predicted = build(CONTRACT, name, SMALL.get(name, {}), 0).fit(ROWS, TARGET).predict(ROWS)
    assert predicted.shape == (60,)
    assert np.isfinite(predicted).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_same_seed_gives_the_same_model(name: str) -> None:
    """Also where the estimator draws at random."""
    parameters = SMALL.get(name, {}) | ({"max_features": 2} if name in SMALL else {})
    one, other = (
        build(CONTRACT, name, parameters, 5).fit(ROWS, TARGET).predict(ROWS) for _ in range(2)
    )
    assert one.tolist() == other.tolist()


@pytest.mark.parametrize("name", SMALL)
def test_another_seed_gives_another_model(name: str) -> None:
    """The seed reaches the estimator."""
    parameters = SMALL[name] | {"max_features": 2}
    one, other = (
        build(CONTRACT, name, parameters, seed).fit(ROWS, TARGET).predict(ROWS) for seed in (1, 2)
    )
    assert one.tolist() != other.tolist()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_trees_take_unscaled_columns_and_the_others_scaled_ones(name: str) -> None:
    """A scaler before float32 trees would move values across a split."""
    model = build(CONTRACT, name, SMALL.get(name, {}), 0).fit(ROWS, TARGET)
    first = model["prepare"].transform(ROWS)[:, 0]
    assert (first.tolist() == ROWS[:, 0].tolist()) == isinstance(model["estimate"], TREES)


def test_the_mean_knows_no_feature() -> None:
    """The simplest baseline."""
    model = build(CONTRACT, "mean", {}, 0).fit(ROWS, TARGET)
    assert model.predict(ROWS) == pytest.approx(np.full(60, TARGET.mean()))


def test_the_single_feature_is_the_one_that_tells_most() -> None:
    """Area makes the rent; changing any other column changes nothing."""
    model = build(CONTRACT, "single_feature", {}, 0).fit(ROWS, TARGET)
    others = ROWS.copy()
    others[:, 1:] = others[::-1, 1:]
    assert model.predict(others).tolist() == model.predict(ROWS).tolist()
    assert not np.allclose(model.predict(ROWS), TARGET.mean())


def test_the_baselines_are_candidates() -> None:
    """And the simplest of them come first."""
    assert tuple(ESTIMATORS)[: len(BASELINES)] == BASELINES


@pytest.mark.parametrize(
    ("name", "parameters", "found"),
    [
        ("magic", {}, "tune.candidates.magic: allowed: mean, single_feature, ridge"),
        ("ridge", {"alfa": 1.0}, "tune.candidates.ridge: .*unexpected keyword argument 'alfa'"),
        ("single_feature", {"k": 2}, "tune.candidates.single_feature: .*'k'"),
    ],
)
def test_a_model_or_parameter_that_does_not_exist_is_named(
    name: str, parameters: dict[str, Any], found: str
) -> None:
    """With its key in params.yaml."""
    with pytest.raises(SettingsError, match=f"config/params.yaml(?s:.*){found}"):
        build(CONTRACT, name, parameters, 0)
