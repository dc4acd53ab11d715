"""Pictures of an evaluation: predictions, residuals, candidates, slices."""

from typing import Any

from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mlref.core.contract import Column
from mlref.core.digits import digits, show_number
from mlref.evaluation.metrics import Interval

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Six colours that colour-blind readers can tell apart (Okabe and Ito)."""

BLUE, ORANGE, GREY = PALETTE[0], PALETTE[1], "#777777"

STYLE: Any = {
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "legend.fontsize": 8,
    "legend.frameon": False,
}
"""Matplotlib's settings for all pictures, here and in the notebooks."""


def label(column: Column) -> str:
    """A column's title with its unit, for an axis."""
    return column.title + (f" ({column.unit})" if column.unit else "")


def panels(
    title: str, count: int, width: float, height: float, columns: int = 0, **shared: Any
) -> tuple[Figure, list[Any]]:
    """Empty plots in rows of ``columns`` below one title, on a figure that no window knows of."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left")
    columns = columns or count
    grid = figure.subplots(-(-count // columns), columns, squeeze=False, **shared)
    for unused in grid.flat[count:]:
        unused.remove()
    return figure, list(grid.flat[:count])


def intervals(at: Any, found: dict[str, Interval], line: float) -> int:
    """Draw named intervals from top to bottom; returns how many of them exclude the line."""
    off = 0
    at.axvline(line, color=GREY, linestyle="--", linewidth=1)
    for place, interval in enumerate(found.values()):
        excludes = not interval["lower"] <= line <= interval["upper"]
        off += excludes
        colour = ORANGE if excludes else BLUE
        at.plot([interval["lower"], interval["upper"]], [place, place], "|-", color=colour)
        at.plot(interval["value"], place, "D" if excludes else "o", color=colour)
    at.set_yticks(range(len(found)), found)
    at.set_ylim(max(len(found), 1) - 0.5, -0.5)
    return off


def predicted_vs_actual(table: Any, metrics: dict[str, Any], target: Column) -> Figure:
    """Each test row with its interval; orange where the interval misses the actual value."""
    coverage = metrics["coverage"]
    title = (
        f"{coverage['value']:.0%} of the {len(table)} values of the test set lie in their"
        f" {coverage['promised']:.0%} interval"
    )
    figure, (at,) = panels(title, 1, 6.0, 5.0)
    inside = table["actual"].between(table["lower"], table["upper"])
    for part, colour, marker, name in (
        (table[inside], BLUE, "o", "inside"),
        (table[~inside], ORANGE, "D", "outside"),
    ):
        at.vlines(part["actual"], part["lower"], part["upper"], color=colour, lw=0.7, alpha=0.75)
        at.plot(
            part["actual"], part["value"], marker, color=colour, alpha=0.75, markersize=4,
            label=f"{name} ({len(part)})",
        )  # fmt: skip
    ends = [table["actual"].min(), table["actual"].max()]
    at.plot(ends, ends, color=GREY, linestyle="--", linewidth=1, label="perfect")
    at.set(xlabel=f"actual: {label(target)}", ylabel=f"predicted: {label(target)}")
    at.legend(loc="upper left")
    return figure


def residuals(table: Any, target: Column) -> Figure:
    """Residuals against the prediction: a slope or a funnel is something the model has missed."""
    left, order = table["actual"] - table["value"], table["value"].rank(pct=True)
    low, high = (
        show_number(left[rows].std(), digits(target)) for rows in (order <= 1 / 3, order > 2 / 3)
    )
    title = f"Residual spread: {low} in the lowest third, {high} in the highest"
    figure, (at,) = panels(title, 1, 6.0, 5.0)
    at.axhline(0, color=GREY, linewidth=1)
    at.scatter(table["value"], left, color=BLUE, s=18, alpha=0.75)
    at.set(xlabel=f"predicted: {label(target)}", ylabel=f"actual − predicted: {label(target)}")
    return figure


def candidates(tuning: dict[str, Any], target: Column) -> Figure:
    """Nested cross-validated RMSE of each candidate; those that may not be chosen are grey."""
    found, log = tuning["candidates"], target.transform == "log"
    score, unit = ("rmse_log", "logarithm") if log else ("rmse", label(target))
    names = sorted(found, key=lambda name: found[name]["trial"], reverse=True)
    figure, (at,) = panels("Cross-validated candidates, the chosen one in orange", 1, 7.5, 3.2)
    for place, name in enumerate(names):
        colour = (
            GREY if found[name]["does_not_beat"] else ORANGE if name == tuning["model"] else BLUE
        )
        rmse, deviation = found[name][score], found[name][f"{score}_std"]
        at.errorbar(rmse, place, xerr=deviation, fmt="o", color=colour, capsize=3)
    at.set_yticks(range(len(names)), names)
    at.set(
        xlabel=f"RMSE ± deviation over folds: {unit}\ngrey: not shown to beat each simpler candidate",
        ylim=(-0.6, len(names) - 0.3),
    )
    return figure


def slices(metrics: dict[str, Any], target: Column) -> Figure:
    """Error, bias and coverage of each slice that is large enough, against what they should be."""
    large = {name: found for name, found in metrics["slices"].items() if found["judged"]}
    named = {f"{name} (n = {found['rows']})": found for name, found in large.items()}
    figure, plots = panels("", 3, 9.5, 1.4 + 0.3 * len(large), sharey=True)
    lines = {
        "rmse": (metrics["rmse"]["value"], f"RMSE: {label(target)}\ndashed: all rows"),
        "bias": (0.0, f"bias: {label(target)}\ndashed: none"),
        "coverage": (
            metrics["coverage"]["promised"],
            "share inside the interval\ndashed: promised",
        ),
    }
    off = 0
    for at, (metric, (line, text)) in zip(plots, lines.items(), strict=True):
        off += intervals(at, {name: found[metric] for name, found in named.items()}, line)
        at.set_xlabel(text)
    small = len(metrics["slices"]) - len(large)
    title = f"Intervals of slices that exclude their line: {off} of {3 * len(large)}"
    title += f"; slices too small to compare: {small}" * bool(small)
    figure.suptitle(title, x=0.01, ha="left")
    return figure
