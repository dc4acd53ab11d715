"""A task: a loss for each row, a score, and answers that hold what they promise."""

import re
from pathlib import Path

import numpy as np
import pytest

from mlref.core.digits import digits, show_number
from mlref.core.errors import DataError
from mlref.core.task import Regression, conformal_width, task_of
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


def test_an_answer_ends_where_possible_values_do_and_holds_its_ends() -> None:
    task = task_of(CONTRACT)
    calibration = task.calibrate(np.zeros(20), np.full((20, 1), 60.0), 0.9)
    assert calibration == {
        "coverage": 0.9, "half_width": 60.0, "method": "jackknife, K-fold", "rows": 20,
    }  # fmt: skip
    answer = task.answer(np.array([[10.0], [500.0], [19_990.0]]), calibration)
    assert {name: values.tolist() for name, values in answer.fields().items()} == {
        "value": [10, 500, 19_990], "lower": [0, 440, 19_930], "upper": [70, 560, 20_000],
    }  # fmt: skip
    assert answer.holds(np.array([0.0, 560.0, 19_929.0])).tolist() == [True, True, False]
    assert task.describe(calibration, CONTRACT.target) == "90% intervals ± 60"


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
    """2026-11: registry/ and tracking/ still name them; issue 17 works there at the same time."""
    naming = set()
    for path in SOURCE.rglob("*.py"):
        code = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)
        code = re.sub(r"#.*", "", code)
        if METRICS.search(code):
            naming.add(str(path.relative_to(SOURCE)))
    naming = {name for name in naming if not name.startswith(("registry/", "tracking/"))}
    assert naming == NAMES_METRICS
