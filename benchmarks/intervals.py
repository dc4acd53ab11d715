"""Measure what prediction intervals hold: one width for all rows against a width for each third.

    python benchmarks/intervals.py [--quick] [--splits N] [--resume FILE] [--picture FILE]

Two tables, each split anew as often as asked, by another seed:

- the rows of this clone, with the model that was chosen for it;
- rows drawn anew each time, of the same features, whose noise grows with the mean.

The training rows are dealt into folds and the widths calibrated as `mlref train` does it; what the
intervals hold is counted on the test set. It prints tables and, as its last line, one JSON object.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import rc_context
from rich.console import Console
from rich.progress import track
from side_by_side import ROOT, print_result, table

from mlref.core import settings
from mlref.core.contract import Contract, load
from mlref.core.rows import Array, generate
from mlref.core.storage import Project, read_json
from mlref.core.task import LEVELS, Regression, conformal_width
from mlref.data.folds import deal
from mlref.data.ingest import ingest
from mlref.data.split import split
from mlref.data.tables import decode, encode
from mlref.evaluation import plots
from mlref.evaluation.metrics import winkler
from mlref.training import out_of_fold
from mlref.training.candidates import build

METHODS = ("one width", "by thirds")
THIRDS = ("low", "middle", "high")
LIMITS = {"all": 0.01, **dict.fromkeys(THIRDS, 0.03)}
"""How far from the promise the share may be: over all rows, and in each third."""
DRAWN, FRESH = 363, 2000
"""Rows to train on and to count on in a table that is drawn."""


class Table(NamedTuple):
    """Rows to train on and rows to count on."""

    train: pd.DataFrame
    features: Array
    target: Array
    fresh: Array
    actual: Array


def of_this_clone(
    project: Project, contract: Contract, given: settings.Split
) -> Callable[[int], Table]:
    """The rows of this clone, split by a seed."""
    frame = decode(ingest(contract, project.root), contract.columns)

    def _split(seed: int) -> Table:
        tested = split(contract, frame, given.model_copy(update={"seed": seed}))
        train = frame[~tested]
        return Table(train, *encode(contract, train), *encode(contract, frame[tested]))

    return _split


def growing(contract: Contract) -> Callable[[int], Table]:
    """Rows drawn by a seed: the mean is linear in the features, and the noise a quarter of the mean."""

    def _draw(seed: int) -> Table:
        features = generate(contract, DRAWN + FRESH, seed)
        centred = np.nan_to_num(features - np.nanmean(features, axis=0))
        signal = (centred / centred.std(axis=0)).sum(axis=1)
        mean = np.maximum(175 + 55 * signal / signal.std(), 10)
        target = np.random.default_rng(seed).normal(mean, mean / 4)
        train = pd.DataFrame(features[:DRAWN], columns=contract.names)
        return Table(
            train, features[:DRAWN], target[:DRAWN], features[DRAWN:], target[DRAWN:]
        )  # fmt: skip

    return _draw


Found = dict[str, float]
"""What was counted of one split, by name; of many, see :func:`count`."""


def once(rows: Table, contract: Contract, make: Callable[[], Any], train: settings.Train) -> Found:
    """Calibrate on one split, and count what both kinds of intervals hold."""
    task, found = Regression(), Found()
    folds = deal(contract, rows.train, train.folds, train.seed)
    predicted = out_of_fold.predict(make(), rows.features, rows.target, folds.pairs())
    known = ~np.isnan(predicted)
    thirds = task.calibrate(rows.target[known], predicted[known], train.coverage)
    one = [conformal_width((rows.target - predicted)[known], train.coverage)] * 3
    value = make().fit(rows.features, rows.target).predict(rows.fresh)
    for method, changed in zip(METHODS, ({"half_widths": one}, {}), strict=True):
        answer = task.answer(value, thirds | changed)
        inside = answer.holds(rows.actual)
        parts = {"all": np.full(len(value), True)} | dict(task.parts(value, thirds))
        found |= {f"{method}, {part}": inside[of].mean() for part, of in parts.items() if of.any()}
        found[f"{method}, winkler"] = winkler(rows.actual, answer, train.coverage).mean()
    for level, changed in thirds["levels"].items():
        found[f"at {level}"] = task.answer(value, thirds | changed).holds(rows.actual).mean()
    return {name: float(figure) for name, figure in found.items()}


def count(
    name: str, draw: Callable[[int], Table], splits: int, kept: Path | None,
    measure: Callable[[Table], Found],
) -> dict[str, list[float]]:  # fmt: skip
    """Count over many splits; those in the file ``kept`` are not made again."""
    lines = kept.read_text().splitlines() if kept and kept.is_file() else []
    known = {seed: found for table, seed, found in map(json.loads, lines) if table == name}
    for seed in track(range(splits), name, console=Console(stderr=True), transient=True):
        if seed not in known:
            known[seed] = measure(draw(seed))
            if kept:
                with kept.open("a") as file:
                    file.write(json.dumps([name, seed, known[seed]]) + "\n")
    whole = [known[seed] for seed in range(splits)]
    return {key: [found[key] for found in whole if key in found] for key in whole[0]}


def share(values: list[float]) -> str:
    """Mean over the splits in percent, with twice its standard error."""
    return f"{100 * np.mean(values):.1f} ± {200 * np.std(values) / len(values) ** 0.5:.1f}"


def kept(values: list[float], promised: float, limit: float) -> bool:
    """Whether the interval of the mean reaches into what is allowed."""
    error = 2 * np.std(values) / len(values) ** 0.5
    return bool(abs(np.mean(values) - promised) <= limit + error)


def show(name: str, found: dict[str, list[float]], promised: float) -> None:
    """Print what the intervals hold."""
    rows = [
        (
            method, part, share(found[f"{method}, {part}"]), f"{100 * promised:g} ± {100 * limit:g}",
            "kept" if kept(found[f"{method}, {part}"], promised, limit) else "missed",
        )
        for method in METHODS for part, limit in LIMITS.items()
    ]  # fmt: skip
    title = f"{name}: share inside, %"
    table(title, "intervals", "predictions", "held", "promised", "limit", rows=rows)
    levels = [(f"{100 * level:g}", share(found[f"at {level}"])) for level in LEVELS]
    table(f"{name}: by thirds, at other coverages, %", "promised", "held", rows=levels)


def draw_picture(
    path: Path, rows: Table, make: Callable[[], Any], contract: Contract, train: settings.Train,
    found: dict[str, dict[str, list[float]]],
) -> None:  # fmt: skip
    """Residuals with both kinds of intervals, and what these hold in each third."""
    folds = deal(contract, rows.train, train.folds, train.seed)
    predicted = out_of_fold.predict(make(), rows.features, rows.target, folds.pairs())
    known = ~np.isnan(predicted)
    predicted, residuals = predicted[known], (rows.target - predicted)[known]
    thirds = Regression().calibrate(predicted + residuals, predicted, train.coverage)
    one = conformal_width(residuals, train.coverage)
    with rc_context(plots.STYLE):
        title = f"Intervals that promise {train.coverage:.0%}, and what they hold"
        figure, (left, *right) = plots.panels(title, 1 + len(found), 11.0, 3.6)
        left.scatter(predicted, residuals, s=8, color=plots.GREY, alpha=0.6)
        ends = [predicted.min(), *thirds["bounds"], predicted.max()]
        for sign in (-1, 1):
            label = dict.fromkeys(METHODS, None) if sign < 0 else dict(zip(METHODS, METHODS))
            left.hlines(sign * one, ends[0], ends[-1], colors=plots.ORANGE, label=label[METHODS[0]])
            widths = sign * np.array(thirds["half_widths"])
            left.stairs(widths, ends, baseline=None, color=plots.BLUE, label=label[METHODS[1]])
        left.set(
            xlabel=f"predicted: {plots.label(contract.target)}", ylabel="actual − predicted",
            title="out of fold",
        )  # fmt: skip
        left.legend(loc="upper left")
        for at, (name, counted) in zip(right, found.items(), strict=True):
            for place, (method, colour) in enumerate(zip(METHODS, (plots.ORANGE, plots.BLUE))):
                means = [100 * float(np.mean(counted[f"{method}, {part}"])) for part in THIRDS]
                at.bar(np.arange(3) + 0.4 * place - 0.2, means, 0.36, color=colour)
            at.axhline(100 * train.coverage, color=plots.GREY, linestyle="--", linewidth=1)
            at.set_xticks(range(3), THIRDS)
            at.set(
                ylim=(60, 100),
                ylabel="share inside, %",
                xlabel="third of the predictions",
                title=name,
            )
        figure.savefig(path, metadata={"Software": None})


def main() -> None:
    """Count, print the tables and the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--splits", type=int, default=200, help="how often to split anew")
    parser.add_argument("--resume", type=Path, help="file that keeps finished splits between runs")
    parser.add_argument("--picture", type=Path, help="PNG file to draw what was found into")
    parser.add_argument(
        "--quick", action="store_true", help="a few splits: that it runs, not what it finds"
    )
    options = parser.parse_args()
    splits = 5 if options.quick else options.splits
    project = Project(ROOT)
    contract, given = load(project.contract), settings.load(project.params)
    tuning = read_json(project.tuning)

    def make() -> Any:
        return build(contract, tuning["model"], tuning["parameters"], given.train.seed)

    def measure(rows: Table) -> Found:
        return once(rows, contract, make, given.train)

    draws = {
        contract.name: of_this_clone(project, contract, given.split),
        "noise grows with the mean": growing(contract),
    }
    found = {
        name: count(name, draw, splits, options.resume, measure) for name, draw in draws.items()
    }
    figures, ratios = {"splits": float(splits)}, {}
    for name, counted in found.items():
        show(name, counted, given.train.coverage)
        means = {key: float(np.mean(values)) for key, values in counted.items()}
        figures |= {f"{name}: {key}": mean for key, mean in means.items()}
        one, thirds = (means[f"{method}, winkler"] for method in METHODS)
        ratios[f"{name}: winkler score, by thirds to one width"] = thirds / one
    if options.picture:
        rows = draws[contract.name](given.split.seed)
        draw_picture(options.picture, rows, make, contract, given.train, found)
    print_result("intervals", ratios, figures, ("scikit-learn", "numpy"))


if __name__ == "__main__":
    main()
