"""Reports name what they lack; figures are short and never empty."""

from typing import Any

import pytest

from mlref.core.errors import MlrefError
from mlref.registry.reports import Report, bullets, interval, number, table

METRICS = {"rmse": {"value": 54.0}, "promises": [{"passed": True}]}


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (("mae",), "metrics.json has no 'mae'."),
        (("rmse", "lower"), "metrics.json: rmse has no 'lower'."),
        (("promises", 0, "worst"), "metrics.json: promises[0] has no 'worst'."),
    ],
)
def test_what_a_report_lacks_is_named_with_its_file(path: tuple[Any, ...], sentence: str) -> None:
    """And with the command that writes the file."""
    part: Any = Report(METRICS, "metrics.json")
    with pytest.raises(MlrefError) as refusal:
        for key in path:
            part = part[key]
    assert str(refusal.value) == f"{sentence} Run `make train` to write it anew."


def test_a_report_is_the_mapping_that_it_was_made_from() -> None:
    """Down to the leaves."""
    assert Report(METRICS, "metrics.json") == METRICS


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (53.9078, "53.9"), (0.51908, "0.519"), (-9.9324, "-9.93"), (0.0, "0"), (3, "3"),
        (999.4, "999"), (999.6, "1000"), (14532.4, "14532"), (1e-5, "1e-05"), (None, "not a number"),
    ],
)  # fmt: skip
def test_a_figure_has_three_digits(value: float | None, text: str) -> None:
    """A large one all before the point; null is what JSON holds for NaN."""
    assert number(value) == text


def test_an_interval_stands_beside_its_point() -> None:
    """Value, lower and upper."""
    found = Report({"value": 54.0, "lower": 44.29, "upper": None}, "x")
    assert interval(found) == "54 [44.3, not a number]"


def test_a_bar_inside_a_cell_does_not_end_it() -> None:
    """As a meaning may hold one."""
    assert table(("a", "b"), [("x|y", "z")]) == "| a | b |\n| --- | --- |\n| x\\|y | z |"
    assert bullets(["a", "b"]) == "- a\n- b"
