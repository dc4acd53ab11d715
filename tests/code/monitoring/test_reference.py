"""A bundle is a reference on the scale of its task, and a date has none."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlref.core.settings import Monitor
from mlref.core.task import task_of
from mlref.data.split import profile
from mlref.monitoring import drift, performance
from mlref.monitoring.reference import PREDICTION, Reference, reference
from mlref.monitoring.simulate import _records, _truth
from mlref.monitoring.thresholds import Thresholds
from mlref.monitoring.windows import Rows, table
from tests.code.monitoring.conftest import quiet_rows
from tests.fakes import CONTRACT, TYPES, linear
from tests.projects import PARAMS

ERROR = 0.2
"""Standard deviation of the logarithm of the truth over the prediction."""
SETTINGS = Monitor(**PARAMS["monitor"] | {"months": 100})
LOG = TYPES.model_copy(
    update={
        "target": TYPES.target.model_copy(update={"valid": (1.0, 20_000.0), "transform": "log"}),
        "slices": (),
    }
)


def drawn(count: int, seed: int, since: int) -> tuple[Any, Any, Any]:
    """Rows of homes sold after a day, predictions, and the truth, whose errors are ratios."""
    draw = np.random.default_rng(seed)
    more = np.column_stack([since + np.arange(count), draw.integers(2, size=count)])
    rows = quiet_rows(count, seed)
    predictions = linear(rows)
    return np.hstack([rows, more]), predictions, predictions * np.exp(draw.normal(0, ERROR, count))


@pytest.fixture(scope="module")
def thresholds() -> Thresholds:
    """Those of a model of the logarithm."""
    rows, predictions, truth = drawn(400, 1, 0)
    predictor: Any = SimpleNamespace(
        contract=LOG,
        profile=profile(LOG, rows, truth),
        intervals=task_of(LOG).calibrate(truth, predictions, 0.9),
    )
    return Thresholds(None, "", reference(predictor), SETTINGS)


def window(known: Reference, factor: float = 1.0) -> Rows:
    """A window of homes that are sold years later, with a truth that is so many times the usual."""
    rows, value, truth = drawn(200, 2, 3000)
    ends = {"lower": value * np.exp(-1.645 * ERROR), "upper": value * np.exp(1.645 * ERROR)}
    return table(rows, value=value, label=factor * truth, time=0.0, predicted=0.0, **ends)


def test_a_date_does_not_drift(thresholds: Thresholds) -> None:
    known = thresholds.reference
    assert "sold" not in known.numbers and "sold" in known.missing
    found = drift.judge(thresholds, window(known), {}, 50)
    assert [one for one in found.findings if one.alarm] == []
    monitors = {one.monitor for one in found.findings if one.column == "sold"}
    assert monitors == {"rejected", "missing"}


@pytest.mark.parametrize(
    ("factor", "alarms"), [(1.0, set()), (1.5, {"bias", "loss", "misses"}), (0.5, {"bias", "loss", "misses"})]
)  # fmt: skip
def test_a_logarithm_is_judged_by_ratios(
    factor: float, alarms: set[str], thresholds: Thresholds
) -> None:
    found = performance.judge(thresholds, window(thresholds.reference, factor), {}, 10**9)
    assert {one.monitor for one in found.findings if one.alarm} == alarms
    assert found.facts["expected"] == pytest.approx(ERROR, rel=0.15)
    assert found.facts["bias"] == pytest.approx(np.log(factor), abs=0.06)
    wanted = np.hypot(ERROR, np.log(factor))
    assert found.facts["loss"][1] == pytest.approx(wanted, rel=0.15)


def test_predictions_of_a_logarithm_are_known_in_the_unit_of_the_target(
    thresholds: Thresholds,
) -> None:
    known = thresholds.reference
    median = float(np.median(drawn(400, 1, 0)[1]))
    assert float(np.median(known.numbers[PREDICTION].cells)) == pytest.approx(median, rel=0.05)
    third = known.third(np.array([1.0, median, 19_000.0]))
    assert third.tolist() == [0, 1, 2]


def test_traffic_has_dates_of_the_contract_and_a_truth_of_ratios(thresholds: Thresholds) -> None:
    rows, values, _ = drawn(400, 3, 151)
    sent = _records("none", LOG, rows)
    assert (sent[0]["sold"], type(sent[0]["lift"]), sent[1]["sold"]) == (
        "2020-05-31", bool, "2020-06-01",
    )  # fmt: skip
    truth = np.array(_truth("none", thresholds.reference, values, np.random.default_rng(0)))
    assert np.log(truth / values).std() == pytest.approx(ERROR, rel=0.15)


def test_stored_quantiles_of_errors_give_their_mean_square() -> None:
    """Straight lines between 21 quantiles would give a tenth too much."""
    rows = quiet_rows(363)
    predicted, draw, ratios = linear(rows), np.random.default_rng(3), []
    for _ in range(50):
        actual = predicted + draw.normal(0, 10, len(predicted))
        predictor: Any = SimpleNamespace(
            contract=CONTRACT,
            profile=profile(CONTRACT, rows, actual),
            intervals=task_of(CONTRACT).calibrate(actual, predicted, 0.9),
        )
        losses = reference(predictor).losses()
        ratios.append(losses.mean() / np.mean((actual - predicted) ** 2))
    assert np.mean(ratios) == pytest.approx(1, abs=0.04)
