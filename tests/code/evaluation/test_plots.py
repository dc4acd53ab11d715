"""Pictures of an evaluation say in their title what there is to see."""

from typing import Any

import pandas as pd

from mlref.core.storage import Project, read_json
from mlref.evaluation import plots
from tests.fakes import CONTRACT

TARGET = CONTRACT.target


def texts(figure: Any) -> set[str]:
    """All that is written on a figure."""
    from matplotlib.text import Text

    return {str(text.get_text()) for text in figure.findobj(Text)}


def colours(at: Any) -> list[str]:
    """The colours of the points on a plot, in the order in which they were drawn."""
    points = [line for line in at.lines if line.get_marker() in ("o", "D")]
    return [str(line.get_color()) for line in points]


def interval(value: float, reach: float) -> dict[str, float]:
    """An interval that reaches equally far to both sides."""
    return {"value": value, "lower": value - reach, "upper": value + reach}


def test_an_interval_that_excludes_the_line_stands_out_and_is_counted() -> None:
    figure, (at,) = plots.panels("", 1, 6, 5)
    found = {"holds": interval(1, 2), "excludes": interval(5, 2), "touches": interval(2, 2)}
    assert plots.intervals(at, found, 0.0) == 1
    assert colours(at) == [plots.BLUE, plots.ORANGE, plots.BLUE]
    assert [line.get_marker() for line in at.lines if line.get_marker() in "oD"] == ["o", "D", "o"]
    assert set(found) <= texts(figure)


def test_plots_come_in_rows_and_no_empty_one_is_left() -> None:
    figure, shown = plots.panels("title", 5, 6, 4, 3)
    assert len(shown) == len(figure.axes) == 5
    assert "title" in texts(figure)


def test_values_outside_their_interval_are_counted() -> None:
    """A value beyond the possible is drawn outside of its interval, which may hold the truth."""
    table = pd.DataFrame({
        "actual": [1.0, 5.0, 9.0], "value": [-1.0, 5.0, 3.0],
        "lower": [0.0, 4.0, 2.0], "upper": [2.0, 6.0, 4.0],
    })  # fmt: skip
    metrics = {"coverage": {"value": 2 / 3, "promised": 0.9}}
    written = texts(plots.predicted_vs_actual(table, metrics, TARGET))
    assert "67% of the 3 values of the test set lie in their 90% interval" in written
    assert {"inside (2)", "outside (1)", "actual: Rent (euro)"} <= written


def test_a_funnel_of_residuals_is_said() -> None:
    value = pd.Series(range(9), dtype=float)
    left = pd.Series([1, -1, 0, 0, 0, 0, 10, -10, 0], dtype=float)
    written = texts(plots.residuals(pd.DataFrame({"value": value, "actual": value + left}), TARGET))
    assert "Residual spread: 1 in the lowest third, 10 in the highest" in written


def test_the_chosen_candidate_stands_out(trained: Project) -> None:
    figure = plots.candidates(read_json(trained.tuning), TARGET)
    assert {"mean", "single_feature", "elastic_net"} <= texts(figure)
    drawn = [str(line.get_color()) for line in figure.axes[0].lines]
    assert drawn.count(plots.ORANGE) == drawn.count(plots.BLUE) / 2
    tuning = read_json(trained.tuning)
    tuning["candidates"]["mean"]["does_not_beat"] = ["single_feature"]
    drawn = [str(line.get_color()) for line in plots.candidates(tuning, TARGET).axes[0].lines]
    assert drawn.count(plots.GREY) == drawn.count(plots.ORANGE) == drawn.count(plots.BLUE)


def test_slices_that_are_too_small_are_counted_and_not_drawn(trained: Project) -> None:
    """Those that are not have their number of rows in the name; the confidence is not claimed."""
    metrics = read_json(trained.metrics)
    written = texts(plots.slices(metrics, TARGET))
    large = {n: f["rows"] for n, f in metrics["slices"].items() if f["judged"]}
    assert {f"{name} (n = {rows})" for name, rows in large.items()} <= written
    small = set(metrics["slices"]) - set(large)
    assert small and not any(name in text for name in small for text in written)
    assert any(text.endswith(f"; slices too small to compare: {len(small)}") for text in written)
    assert not any("95" in text for text in written)


def test_a_slice_that_stands_out_is_counted(trained: Project) -> None:
    """Planted: one of them is biased, and its intervals hold too little. A contract may have none."""
    metrics = read_json(trained.metrics)
    wrong = {"bias": interval(900, 10), "coverage": interval(0.3, 0.1)}
    right = {"rmse": metrics["rmse"], "bias": interval(0, 10), "coverage": interval(0.9, 0.05)}
    slices = {"a": right, "b": right | wrong}
    metrics["slices"] = {name: s | {"judged": True, "rows": 20} for name, s in slices.items()}
    figure = plots.slices(metrics, TARGET)
    assert "Intervals of slices that exclude their line: 2 of 6" in texts(figure)
    both = [plots.BLUE, plots.BLUE]
    assert [colours(at) for at in figure.axes] == [both, *2 * [[plots.BLUE, plots.ORANGE]]]
    none = texts(plots.slices(metrics | {"slices": {}}, TARGET))
    assert "Intervals of slices that exclude their line: 0 of 0" in none
