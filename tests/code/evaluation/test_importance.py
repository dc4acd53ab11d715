"""What a feature is worth is what is lost without it."""

import numpy as np
import pytest

from mlref.core.contract import parse
from mlref.core.settings import Evaluate
from mlref.data.folds import deal
from mlref.data.tables import encode
from mlref.evaluation.importance import leave_one_out
from tests.fakes import CONTRACT, CONTRACT_TEXT
from tests.projects import rents

SETTINGS = Evaluate(seed=0, resamples=300, confidence=0.95, folds=3, rows=1000, smallest_slice=15)
TUNING = {"model": "ridge", "parameters": {"alpha": 0.1}}
FEATURES, TARGET = encode(CONTRACT, rents(200))
FOLDS = deal(CONTRACT, rents(200), 3, seed=0)


def test_a_feature_that_matters_is_missed_with_confidence() -> None:
    """Area carries most of the rent; what a balcony adds is less than the noise."""
    found = leave_one_out(CONTRACT, TUNING, FEATURES, TARGET, FOLDS, SETTINGS)
    assert list(found) == list(CONTRACT.names)
    assert found["area"]["lower"] > found["rooms"]["upper"] > found["rooms"]["lower"] > 0
    assert abs(found["balcony"]["value"]) < found["rooms"]["lower"] / 10


def test_a_feature_without_signal_or_with_a_substitute_is_worth_nothing() -> None:
    """Planted: the rent no longer depends on rooms, and the balcony follows the area."""
    features, target = FEATURES.copy(), TARGET - 150 * FEATURES[:, 1]
    features[:, 3] = features[:, 0] + np.random.default_rng(0).normal(0, 0.5, 200)
    found = leave_one_out(CONTRACT, TUNING, features, target, FOLDS, SETTINGS)
    assert found["rooms"]["lower"] < 0.5 and abs(found["rooms"]["value"]) < 1
    assert abs(found["area"]["value"]) < 3 > abs(found["balcony"]["value"])


def test_the_only_feature_cannot_be_left_out() -> None:
    contract = parse(CONTRACT_TEXT[: CONTRACT_TEXT.index("  - name: rooms")])
    assert leave_one_out(contract, TUNING, FEATURES[:, :1], TARGET, FOLDS, SETTINGS) == {}


@pytest.mark.parametrize("model", ["mean", "single_feature"])
def test_a_baseline_can_be_asked_too(model: str) -> None:
    """The mean needs no feature at all."""
    tuning = {"model": model, "parameters": {}}
    found = leave_one_out(CONTRACT, tuning, FEATURES, TARGET, FOLDS, SETTINGS)
    assert (found["area"]["value"] == 0) == (model == "mean")
