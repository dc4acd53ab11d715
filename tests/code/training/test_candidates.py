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
FEW: dict[str, dict[str, Any]] = {
    "gradient_boosting": {"n_estimators": 5},
    "hist_gradient_boosting": {"max_iter": 5},
    "random_forest": {"n_estimators": 5},
}


def fitted(name: str) -> Any:
    """A candidate fitted on rows with nulls and categories."""
    return build(CONTRACT, name, FEW.get(name, {}), 0).fit(ROWS, TARGET)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_trees_take_unscaled_columns_and_the_others_scaled_ones(name: str) -> None:
    """A scaler before float32 trees would move values across a split."""
    model = fitted(name)
    first = model["prepare"].transform(ROWS)[:, 0]
    assert (first.tolist() == ROWS[:, 0].tolist()) == isinstance(model["estimate"], TREES)


def test_the_baselines_come_first_and_know_no_feature_or_the_one_that_tells_most() -> None:
    """Area makes the rent; changing any other column changes nothing."""
    assert tuple(ESTIMATORS)[: len(BASELINES)] == BASELINES == ("mean", "single_feature")
    assert fitted("mean").predict(ROWS) == pytest.approx(np.full(60, TARGET.mean()))
    model, others = fitted("single_feature"), ROWS.copy()
    others[:, 1:] = others[::-1, 1:]
    assert model.predict(others).tolist() == model.predict(ROWS).tolist()
    assert not np.allclose(model.predict(ROWS), TARGET.mean())


@pytest.mark.parametrize(
    ("name", "parameters", "found"),
    [
        ("magic", {}, "tune.candidates.magic: allowed: mean, single_feature, ridge"),
        ("single_feature", {"k": 2}, "tune.candidates.single_feature: .*'k'"),
    ],
)
def test_a_model_or_parameter_that_does_not_exist_is_named(
    name: str, parameters: dict[str, Any], found: str
) -> None:
    with pytest.raises(SettingsError, match=f"config/params.yaml(?s:.*){found}"):
        build(CONTRACT, name, parameters, 0)
