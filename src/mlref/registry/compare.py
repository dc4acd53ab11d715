"""Compare runs: what differs, and whether their held-out rows can tell which is better."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from mlref import tracking
from mlref.core import settings
from mlref.core.contract import load
from mlref.core.errors import MlrefError
from mlref.core.storage import Project, replacing
from mlref.evaluation.compare import score_difference
from mlref.evaluation.metrics import Interval
from mlref.evaluation.plots import BLUE, GREY, ORANGE, STYLE
from mlref.registry.runs import Table, opened, resolve, text

PICTURES = (".pdf", ".png", ".svg")
FEWEST = 10
"""Common rows below which an interval says more about the rows than about the models."""

NOTHING = "no per-row predictions in common"


def compare(
    project: Project, references: Sequence[str], picture: Path | None = None
) -> tuple[Table, list[str]]:
    """Put runs side by side, each against the first.

    Parameters
    ----------
    references : sequence of str
        Ids, names, versions or aliases.
    picture : Path or None
        Where to draw the comparison.

    Returns
    -------
    table
        Parameters and metrics that are not equal in all of them.
    sentences : list of str
        The paired difference of RMSE on the rows that two of them have both predicted.

    Raises
    ------
    MlrefError
        For fewer than two different runs, and for a picture that cannot be drawn.
    """
    if picture and picture.suffix not in PICTURES:
        raise MlrefError(f"{picture}: a picture is a file that ends in {' or '.join(PICTURES)}.")
    knobs = settings.load(project.params).evaluate
    with opened(project) as runs:
        named = (resolve(project, runs, one) for one in references)
        found = list({run.run_id: run for run in named}.values())
        if len(found) < 2:
            raise MlrefError("A comparison needs two different runs; `mlref runs list` shows them.")
        predictions = [_predictions(runs.text(run, "predictions.csv")) for run in found]
    labels = _labels(found)
    table, equal = _differing(found, labels)
    sentences, differences = [equal], {}
    for place, label in enumerate(labels[1:], 1):
        rows = _common(predictions[0], predictions[place])
        pair = f"RMSE of {label} minus that of {labels[0]}"
        if len(rows) < FEWEST:
            few = f"{len(rows)} rows in common, and it takes {FEWEST}" if len(rows) else NOTHING
            sentences.append(f"{pair} cannot be told: they have {few}.")
            continue
        actual, one, other = (rows[key].to_numpy() for key in ("actual", "value", "value_other"))
        differences[place] = score_difference(actual, other, one, knobs)
        said = _verdict(differences[place], label, labels[0])
        sentences.append(f"{pair}, on the {len(rows)} held-out rows of both: {said}")
    if picture:
        unit = load(project.contract).target.unit
        figure = draw(found, labels, differences, f" ({unit})" if unit else "")
        with replacing(picture) as fresh:
            figure.savefig(fresh)
        sentences.append(f"Picture: {picture}")
    return table, sentences


def _labels(runs: list[tracking.Run]) -> list[str]:
    """Names of runs, with the start of the id where a name is there twice."""
    names = [run.run_name for run in runs]
    return [
        run.run_name if names.count(run.run_name) == 1 else f"{run.run_name} ({run.run_id[:8]})"
        for run in runs
    ]


def _differing(runs: list[tracking.Run], labels: list[str]) -> tuple[Table, str]:
    """The parameters and metrics that are not equal in all runs, and how many are."""
    cells = [run.cells() for run in runs]
    rows = [["run_id", *(run.run_id[:8] for run in runs)]]
    equal = []
    for kind in ("params", "metrics"):
        names = sorted({name for each in cells for name in each if name.startswith(f"{kind}.")})
        values = {name: [each.get(name) for each in cells] for name in names}
        differing = {name for name, row in values.items() if len(set(row)) > 1}
        rows += [[name, *map(text, values[name])] for name in names if name in differing]
        equal.append(f"{len(names) - len(differing)} {kind}")
    return (["", *labels], rows), f"Equal in all: {' and '.join(equal)}."


def _predictions(content: str | None) -> pd.DataFrame | None:
    """Predictions by row; None where a run has none, or of before rows were named."""
    if content is None:
        return None
    table = pd.read_csv(io.StringIO(content), dtype={"row": str})
    return table if {"row", "actual", "value"} <= set(table.columns) else None


def _common(one: pd.DataFrame | None, other: pd.DataFrame | None) -> pd.DataFrame:
    """The rows that two runs have both predicted, with ``value`` and ``value_other``.

    A row whose actual value was corrected in between is another row. Copies of a row are matched in
    their order.
    """
    if one is None or other is None:
        return pd.DataFrame()
    keys = ["row", "actual"]
    first, second = (
        table[[*keys, "value"]].assign(copy=table.groupby(keys).cumcount())
        for table in (one, other)
    )
    return first.merge(second, on=[*keys, "copy"], suffixes=("", "_other"))


def _verdict(difference: Interval, label: str, first: str) -> str:
    figures = "{value:+.2f} [{lower:+.2f}, {upper:+.2f}]".format(**difference)
    if difference["upper"] < 0:
        return f"{figures}, so {label} is better."
    if difference["lower"] > 0:
        return f"{figures}, so {first} is better."
    return f"{figures}, so these rows cannot tell which is better."


def draw(
    runs: list[tracking.Run], labels: list[str], differences: dict[int, Interval], unit: str
) -> Figure:
    """RMSE of each run with its interval and, beside it, its paired difference to the first run.

    Parameters
    ----------
    differences : dict of int to Interval
        By the place of the run.
    unit : str
        Of the target, in brackets; empty where it has none.

    Raises
    ------
    MlrefError
        When the runs have no error in common.
    """
    errors = [_error(run) for run in runs]
    if len({name for name, *_ in errors}) > 1 or not errors[0][0]:
        raise MlrefError("There is nothing to draw: the runs have no RMSE of the same kind.")
    with rc_context(STYLE):
        figure = Figure(figsize=(5 + 4 * bool(differences), 1.2 + 0.4 * len(runs)))
        left, *right = figure.subplots(1, 1 + bool(differences), sharey=True, squeeze=False)[0]
        for place, (_, value, below, above) in enumerate(errors):
            left.errorbar(value, place, xerr=[[below], [above]], fmt="o", color=BLUE, capsize=3)
        left.set(title="Each run by itself", xlabel=f"{errors[0][0]}{unit}")
        for axes in right:
            for place, found in differences.items():
                reach = [[found["value"] - found["lower"]], [found["upper"] - found["value"]]]
                axes.errorbar(found["value"], place, xerr=reach, fmt="D", color=ORANGE, capsize=3)
            axes.axvline(0, color=GREY, linestyle="--", linewidth=1)
            axes.set(
                title="On the same rows as the first", xlabel=f"its RMSE minus the first's{unit}"
            )
        left.set_yticks(range(len(runs)), labels)
        left.set_ylim(len(runs) - 0.4, -0.6)
    return figure


def _error(run: tracking.Run) -> tuple[str, float, float, float]:
    """The error of a run: its name, the value and how far its interval reaches on both sides."""
    found: dict[str, Any] = run.metrics
    if "rmse" in found:
        value = found["rmse"]
        lower, upper = found.get("rmse_lower", value), found.get("rmse_upper", value)
        return "RMSE of the held-out rows", value, value - lower, upper - value
    if "cv_rmse" in found:
        spread = found.get("cv_rmse_std", 0.0)
        return "RMSE ± deviation over folds", found["cv_rmse"], spread, spread
    return "", 0.0, 0.0, 0.0
