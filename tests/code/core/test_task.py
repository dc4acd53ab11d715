"""A task: a loss for each row, a score, and answers that hold what they promise."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlref.core.digits import digits, show_number
from mlref.core.errors import DataError
from mlref.core.rows import Array
from mlref.core.task import LogRegression, Regression, conformal_width, heavy_tail, task_of
from tests.fakes import CONTRACT

SOURCE = Path(__file__).parents[3] / "src" / "mlref"
METRICS = re.compile(r"\b(rmse|mae|r2|median_error|\w*mean_(squared|absolute)_error)\b")
NAMES_METRICS = {
    "core/task.py",  # defines the primary score
    "evaluation/metrics.py",
    "evaluation/fairness.py",  # a report: the metrics compared between groups
    "evaluation/plots.py",  # pictures of a regression
}
"""Files that may name a metric of regression, besides the registry's cards and reports."""


@pytest.mark.parametrize(
    ("residuals", "coverage", "width"),
    [
        ([3.0, -1.0, 2.0, -4.0], 0.6, 3.0),  # rank ceil(5 · 0.6) = 3
        ([3.0, -1.0, 2.0, -4.0], 0.8, 4.0),  # rank 4, the largest
        ([3.0, -1.0, 2.0, -4.0], 0.61, 4.0),  # rank ceil(3.05) = 4
        ([0.0] * 9, 0.9, 0.0),
        ([float(n) for n in range(1, 10)], 0.9, 9.0),
        ([float(n) for n in range(1, 20)], 0.9, 18.0),
    ],
)
def test_the_width_is_an_order_statistic_of_the_residuals(
    residuals: list[float], coverage: float, width: float
) -> None:
    """The ceil((n + 1) · coverage)-th smallest absolute one."""
    assert conformal_width(np.array(residuals), coverage) == width


@pytest.mark.parametrize(("rows", "coverage", "need"), [(8, 0.9, 9), (4, 0.9, 9), (18, 0.95, 19)])
def test_too_few_rows_for_the_coverage_are_refused(rows: int, coverage: float, need: int) -> None:
    """The message says how many are needed, and that many are enough."""
    with pytest.raises(
        DataError, match=f"{rows} rows are too few(?s:.*)At least {need} are needed"
    ):
        conformal_width(np.ones(rows), coverage)
    assert conformal_width(np.ones(need), coverage) == 1.0


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_intervals_hold_about_the_promised_share_of_new_values(coverage: float) -> None:
    """Over 400 simulated data sets of 50 rows each; the theory says at least the promise."""
    generator = np.random.default_rng(0)
    held = [
        (
            np.abs(generator.standard_t(3, 200))
            <= conformal_width(generator.standard_t(3, 50), coverage)
        ).mean()
        for _ in range(400)
    ]
    assert coverage - 0.01 <= np.mean(held) <= coverage + 1 / 51 + 0.01


def test_the_score_is_the_root_of_the_mean_loss_whatever_the_shape_of_the_output() -> None:
    actual, predicted = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 6.0])
    task = Regression()
    for given in (predicted, predicted.reshape(-1, 1)):
        assert task.loss(actual, given).tolist() == [0, 0, 9]
    assert task.score(np.array([3.0, 12.0])) == pytest.approx([3**0.5, 12**0.5])


NINE = np.arange(1.0, 10.0)


def calibrated(residuals: Array, coverage: float = 0.9) -> dict[str, Any]:
    """Calibrated on predictions 100, 101, … with these residuals."""
    predicted = 100 + np.arange(float(len(residuals)))
    return task_of(CONTRACT).calibrate(predicted + residuals, predicted[:, None], coverage)


def test_each_third_of_the_predictions_has_its_own_width() -> None:
    """A prediction at a bound is in the lower third; an interval ends where possible values do."""
    calibration = calibrated(np.concatenate([NINE, -10 * NINE, 100 * NINE]))
    low, high = calibration["bounds"]
    assert (low, high) == pytest.approx((108 + 2 / 3, 117 + 1 / 3))
    assert calibration["half_widths"] == pytest.approx([9, 90, 900])
    task = task_of(CONTRACT)
    answer = task.answer(np.array([[10.0], [low], [high], [19_990.0]]), calibration)
    assert (answer.upper - answer.value).tolist() == pytest.approx([9, 9, 90, 10])
    assert (answer.value - answer.lower).tolist() == pytest.approx([9, 9, 90, 900])
    assert answer.holds(np.array([1.0, 0.0, high + 90, 20_000.0])).tolist() == [
        True, False, True, True,
    ]  # fmt: skip
    parts = dict(task.parts(np.array([low, high, high + 1]), calibration))
    assert {name: rows.tolist() for name, rows in parts.items()} == {
        "low": [True, False, False], "middle": [False, True, False], "high": [False, False, True],
    }  # fmt: skip
    assert task.describe(calibration, CONTRACT.target) == "90% intervals ± 9 / 90 / 900 by thirds"


def test_a_calibration_keeps_other_coverages_and_the_distribution_out_of_fold() -> None:
    """Residuals with their sign: a model that predicts too high has negative ones."""
    calibration = calibrated(np.concatenate([NINE, -10 * NINE, 100 * NINE]))
    assert {key: calibration[key] for key in ("coverage", "method", "rows")} == {
        "coverage": 0.9, "method": "jackknife, K-fold, by thirds of the prediction", "rows": 27,
    }  # fmt: skip
    widths = {level: found["half_widths"] for level, found in calibration["levels"].items()}
    everywhere = 900.0  # 0.95 needs 19 rows, which no third has
    assert widths == {
        "0.5": pytest.approx([5, 50, 500]), "0.8": pytest.approx([8, 80, 800]),
        "0.9": pytest.approx([9, 90, 900]), "0.95": pytest.approx([everywhere] * 3),
    }  # fmt: skip
    kept = calibration["out_of_fold"]
    assert kept["predictions"] == pytest.approx(np.linspace(100, 126, 21))
    assert kept["residuals"] == [
        pytest.approx(scale * np.linspace(*ends, 21))
        for scale, ends in ((1, (1, 9)), (10, (-9, -1)), (100, (1, 9)))
    ]


@pytest.mark.parametrize("predicted", [np.full(27, 5.0), np.repeat([5.0, 6.0], [20, 7])])
def test_a_third_with_too_few_rows_has_the_width_of_all(predicted: Array) -> None:
    """As where a model gives the same answer to everybody."""
    residuals = np.concatenate([NINE, -10 * NINE, 100 * NINE])
    found = Regression().calibrate(predicted + residuals, predicted, 0.9)
    assert found["half_widths"][1:] == pytest.approx([conformal_width(residuals, 0.9)] * 2)
    assert "0.95" in found["levels"] and len(found["out_of_fold"]["residuals"][2]) == 21
    assert list(calibrated(NINE)["levels"]) == ["0.5", "0.8", "0.9"]


def test_errors_that_grow_with_the_prediction_are_held_in_each_third() -> None:
    """One width holds 100, 93 and 77 % of them; over 200 data sets of 120 rows each."""
    generator, held = np.random.default_rng(0), []
    for _ in range(200):
        predicted = generator.uniform(10, 100, 620)
        actual = generator.normal(predicted, 0.3 * predicted)
        calibration = Regression().calibrate(actual[:120], predicted[:120], 0.9)
        fresh, task = predicted[120:], Regression()
        inside = task.answer(fresh, calibration).holds(actual[120:])
        held.append([inside[rows].mean() for _, rows in task.parts(fresh, calibration)])
    assert np.mean(held, axis=0) == pytest.approx([0.9] * 3, abs=0.03)


@pytest.mark.parametrize(
    ("usual", "places"), [((0, 1e-4), 7), ((0.2, 0.9), 4), ((25, 346), 1), ((0, 1e6), 0)]
)
def test_a_number_is_shown_with_the_digits_that_its_scale_needs(
    usual: tuple[float, float], places: int
) -> None:
    target = CONTRACT.target.model_copy(update={"expected": usual})
    assert digits(target) == places
    assert show_number(2.0, places, "+") == f"{2:+.{places}f}"


def test_only_the_reports_of_a_regression_name_its_metrics() -> None:
    """Beside them only registry/ and tracking/, which write cards, tables and runs."""
    naming = set()
    for path in SOURCE.rglob("*.py"):
        code = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)
        code = re.sub(r"#.*", "", code)
        if METRICS.search(code):
            naming.add(str(path.relative_to(SOURCE)))
    naming = {name for name in naming if not name.startswith(("registry/", "tracking/"))}
    assert naming == NAMES_METRICS


LOG = CONTRACT.model_copy(
    update={
        "target": CONTRACT.target.model_copy(update={"valid": (1.0, 20_000.0), "transform": "log"})
    }
)


def test_a_log_target_is_compared_by_ratios_and_answered_in_its_unit() -> None:
    """Twice as much and half as much are equally wrong; an interval is a factor."""
    task, actual = task_of(LOG), np.array([100.0, 100.0])
    assert isinstance(task, LogRegression)
    assert task.primary == "rmse_log"
    twice, half = task.loss(actual, np.array([[200.0], [50.0]]))
    assert twice == pytest.approx(half) == pytest.approx(np.log(2) ** 2)
    known = np.exp(np.random.default_rng(0).normal(5, 1, 400))
    calibration = task.calibrate(known, np.full((400, 1), np.exp(5)), 0.9)
    assert calibration["scale"] == "log"
    value, lower, upper = task.answer(np.array([[150.0], [10.0]]), calibration)
    assert value.tolist() == [150.0, 10.0]
    assert upper / value == pytest.approx(value[0] / lower[0])
    assert lower[1] >= 1.0  # where possible values end
    assert "× or ÷" in task.describe(calibration, LOG.target)


@pytest.mark.parametrize(
    ("values", "heavy"),
    [
        (np.exp(np.random.default_rng(0).normal(size=300)), True),
        (np.random.default_rng(0).normal(50, 5, 300), False),
        (np.random.default_rng(0).normal(size=300) ** 3, False),  # not positive
        (np.array([1.0, 2.0]), False),
        (np.full(9, 3.0), False),
    ],
)
def test_a_heavy_tail_is_noticed_where_the_logarithm_has_none(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], heavy: bool
) -> None:
    assert heavy_tail(values) == heavy
