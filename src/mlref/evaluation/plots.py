"""Pictures of an evaluation, for people: drawn from the stages' files, attached to the run."""

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mlref.contract import Contract
from mlref.data.tables import read_csv
from mlref.storage import Project, read_json, replacing

BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#777777"
"""Distinct for colour-blind readers (Okabe and Ito)."""

STYLE: Any = {
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


def draw(project: Project, contract: Contract) -> list[Path]:
    """Draw every picture into reports/pictures/ and return the files."""
    table = read_csv(project.predictions).astype(float)
    unit = contract.target.title + (f" ({contract.target.unit})" if contract.target.unit else "")
    metrics, tuning = read_json(project.metrics), read_json(project.tuning)
    with rc_context(STYLE):
        figures = {
            "predicted_vs_actual.png": predicted_vs_actual(table, metrics, unit),
            "residuals.png": residuals(table, unit),
            "candidates.png": candidates(tuning, unit),
            "slices.png": slices(metrics, unit),
        }
    paths = []
    for name, figure in figures.items():
        path = project.pictures / name
        with replacing(path) as fresh:
            figure.savefig(fresh, metadata={"Software": None})
        paths.append(path)
    return paths


def _axes(title: str, width: float = 6.0, height: float = 5.0) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot(title=title)


def predicted_vs_actual(table: Any, metrics: dict[str, Any], unit: str) -> Figure:
    """Each held-out row with its interval; orange where the interval misses the actual value."""
    coverage = metrics["coverage"]
    figure, axes = _axes(
        f"{coverage['value']:.0%} of {len(table)} held-out values lie in their"
        f" {coverage['promised']:.0%} interval"
    )
    missed = (table["actual"] < table["lower"]) | (table["actual"] > table["upper"])
    for rows, colour, marker, label in (
        (~missed, BLUE, "o", "inside"),
        (missed, ORANGE, "D", "outside"),
    ):
        part = table[rows]
        reach = [part["value"] - part["lower"], part["upper"] - part["value"]]
        axes.errorbar(
            part["actual"], part["value"], yerr=reach, fmt=marker, color=colour, ecolor=colour,
            elinewidth=0.7, alpha=0.75, markersize=4, label=f"{label} ({len(part)})",
        )  # fmt: skip
    ends = [table["actual"].min(), table["actual"].max()]
    axes.plot(ends, ends, color=GREY, linestyle="--", linewidth=1, label="perfect")
    axes.set(xlabel=f"actual: {unit}", ylabel=f"predicted: {unit}")
    axes.legend(loc="upper left")
    return figure


def residuals(table: Any, unit: str) -> Figure:
    """Residuals against the prediction: a slope or a funnel is something the model has missed."""
    figure, axes = _axes("Residuals of the held-out rows")
    axes.axhline(0, color=GREY, linewidth=1)
    axes.scatter(table["value"], table["actual"] - table["value"], color=BLUE, s=18, alpha=0.75)
    axes.set(xlabel=f"predicted: {unit}", ylabel="actual − predicted")
    return figure


def candidates(tuning: dict[str, Any], unit: str) -> Figure:
    """The ladder: cross-validated RMSE of each candidate's best setting, and the rule's limit."""
    best = [tuning["trials"][trial] for trial in tuning["best"].values()]
    best.sort(key=lambda trial: trial["trial"], reverse=True)
    figure, axes = _axes(
        "Cross-validated candidates, the chosen one in orange", width=7.5, height=3.2
    )
    for place, trial in enumerate(best):
        colour = ORANGE if trial["model"] == tuning["model"] else BLUE
        axes.errorbar(
            trial["rmse"], place, xerr=trial["rmse_std"], fmt="o", color=colour, capsize=3
        )
    axes.axvline(tuning["limit"], color=GREY, linestyle="--", linewidth=1)
    axes.annotate(
        "limit", (tuning["limit"], len(best) - 0.6), (3, 0), textcoords="offset points",
        fontsize=8, color=GREY,
    )  # fmt: skip
    axes.set_yticks(range(len(best)), [trial["model"] for trial in best])
    axes.set(xlabel=f"RMSE ± deviation over folds: {unit}", ylim=(-0.6, len(best) - 0.3))
    return figure


def slices(metrics: dict[str, Any], unit: str) -> Figure:
    """RMSE of each slice with its interval, against the RMSE of all rows."""
    judged = {name: found for name, found in metrics["slices"].items() if "rmse" in found}
    figure, axes = _axes("RMSE by slice, each with its interval", height=1.4 + 0.3 * len(judged))
    for place, found in enumerate(reversed(judged.values())):
        rmse = found["rmse"]
        reach = [[rmse["value"] - rmse["lower"]], [rmse["upper"] - rmse["value"]]]
        axes.errorbar(rmse["value"], place, xerr=reach, fmt="o", color=BLUE, capsize=3)
    axes.axvline(
        metrics["rmse"]["value"], color=GREY, linestyle="--", linewidth=1, label="all rows"
    )
    names = [f"{name} (n = {found['rows']})" for name, found in reversed(judged.items())]
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel=f"RMSE: {unit}")
    axes.legend()
    return figure
