"""The curves behind the pictures."""

from typing import Any

import numpy as np
import pytest

from mlref.core.contract import parse
from mlref.core.rows import generate
from mlref.core.settings import Evaluate
from mlref.data.tables import encode
from mlref.evaluation.curves import PENALTIES, effects, learning, path
from tests.fakes import CONTRACT, WEIGHTS, linear
from tests.projects import NULLABLE_TEXT, rents

SETTINGS = Evaluate(seed=0, resamples=200, confidence=0.95, folds=3, smallest_slice=15)
ROWS = encode(CONTRACT, rents(90))
RIDGE: dict[str, Any] = {"model": "ridge", "parameters": {"alpha": 0.1}}
TREES = {"model": "gradient_boosting", "parameters": {"n_estimators": 20}}


def test_a_model_that_can_learn_learns_from_more_rows() -> None:
    """Unseen rows are predicted better, fitted ones less well, until the two meet."""
    found = learning(CONTRACT, TREES, *ROWS, SETTINGS)
    assert found["rows"].tolist() == [12, 21, 31, 40, 50, 60]
    assert found["unseen"].iloc[-1] < found["unseen"].iloc[0]
    assert (found["fitted"] < found["unseen"]).all() and (found["deviation"] > 0).all()


def test_rows_in_the_order_of_the_target_are_drawn_at_random() -> None:
    """A file is often sorted; its first fifth would be the cheapest homes."""
    order = np.argsort(ROWS[1])
    found = learning(CONTRACT, RIDGE, ROWS[0][order], ROWS[1][order], SETTINGS)
    assert found["unseen"].iloc[0] < 2 * found["unseen"].iloc[-1]


def test_a_penalty_shrinks_the_coefficients_and_at_last_harms() -> None:
    found = path(CONTRACT, RIDGE, *ROWS, SETTINGS)
    assert set(found["term"]) == {
        "area", "rooms", "balcony", "heating = gas", "heating = oil", "heating = wood",
    }  # fmt: skip
    assert np.isclose(found["alpha"], 0.1).any()
    area = found[found["term"] == "area"]
    assert area["alpha"].is_monotonic_increasing
    assert area["coefficient"].is_monotonic_decreasing and area["coefficient"].iloc[-1] > 0
    assert area["error"].iloc[-1] > 2 * area["error"].min()


def test_a_null_category_has_a_name_on_the_path() -> None:
    contract = parse(NULLABLE_TEXT)
    frame = rents(60)
    frame.loc[::5, "heating"] = None
    terms = set(path(contract, RIDGE, *encode(contract, frame), SETTINGS)["term"])
    assert {"heating = null", "heating = gas", "balcony"} <= terms


def test_products_of_features_are_on_the_path() -> None:
    """A penalty inside a nested pipeline is found as well; the terms are named by their factors."""
    tuning = {"model": "elastic_net_interactions", "parameters": {"alpha": 1.0, "l1_ratio": 0.9}}
    found = path(CONTRACT, tuning, *ROWS, SETTINGS)
    assert {"area", "area rooms", "area heating = gas"} <= set(found["term"])
    assert found["alpha"].nunique() == len(PENALTIES)


@pytest.mark.parametrize("tuning", [TREES, {"model": "mean", "parameters": {}}])
def test_a_model_without_a_penalty_has_no_path(tuning: dict[str, Any]) -> None:
    found = path(CONTRACT, tuning, *ROWS, SETTINGS)
    assert found.empty and "coefficient" in found


def test_the_effects_of_a_linear_model_are_its_weights() -> None:
    """Lines over the usual range; categories by their values."""
    rows = generate(CONTRACT, 30, seed=0)
    found = effects(CONTRACT, linear, rows)
    assert list(found["feature"].unique()) == list(CONTRACT.names)
    assert found[found["feature"] == "heating"]["value"].tolist() == ["gas", "oil", "wood"]
    for name, (lo, hi), weight in (("area", (20, 300), WEIGHTS[0]), ("rooms", (1, 8), WEIGHTS[1])):
        line = found[found["feature"] == name]
        values = line["value"].to_numpy(dtype=float)
        assert (values[0], values[-1]) == (lo, hi)
        assert line["share"].tolist() == pytest.approx((values - lo) / (hi - lo))
        rise = line["prediction"] - line["prediction"].iloc[0]
        assert rise.tolist() == pytest.approx(weight * (values - lo))
