"""Splitting: what cross-validation by single rows hides where rows come in groups, or the world moves.

    python examples/splitting.py [--picture FILE]

Draws two tables with the columns of the contract: 90 groups of 5 similar rows, and rows in time whose
level rises. Each is cross-validated by single rows and as `split` in the contract would; then new rows
tell which was right. All of it is drawn five times: one draw says little.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import rc_context
from numpy.typing import NDArray

from mlref.core.contract import Contract, SplitBy, load
from mlref.core.digits import interval
from mlref.core.rows import Array, generate
from mlref.core.settings import Bootstrap, Split
from mlref.core.storage import Project
from mlref.data.folds import deal
from mlref.data.split import split
from mlref.evaluation import plots
from mlref.evaluation.metrics import Interval, score_interval
from mlref.training import out_of_fold
from mlref.training.candidates import build

GROUPS, EACH = 90, 5
FOLDS = 5
DRAWS = 5
Kind = Literal["group", "time"]
MODELS: dict[Kind, tuple[str, dict[str, Any]]] = {
    "group": ("random_forest", {"n_estimators": 50}),
    "time": ("ridge", {"alpha": 1.0}),
}
"""Trees recognise a group that they know; a line cannot follow a level that rises."""
TABLES: dict[Kind, str] = {"group": f"{GROUPS} groups of {EACH}", "time": "a rising level"}


class Drawn(NamedTuple):
    """Encoded rows with the column that divides them."""

    features: Array
    target: Array
    units: NDArray[Any]


def grouped(contract: Contract, seed: int, groups: int = GROUPS) -> Drawn:
    """Groups with a level of their own, whose rows are as alike as visits of one person."""
    generator = np.random.default_rng(seed)
    typical = np.nan_to_num(generate(contract, groups, seed))
    level, slope = generator.normal(150, 50, groups), signal(typical)
    features = np.repeat(typical, EACH, axis=0)
    numbers = [place for place, column in enumerate(contract.features) if column.allowed is None]
    spread = typical[:, numbers].std(axis=0)
    features[:, numbers] += generator.normal(0, 0.02 * spread, (len(features), len(numbers)))
    noise = generator.normal(0, 30, len(features))
    return Drawn(
        features, np.repeat(level + 20 * slope, EACH) + noise, np.arange(len(features)) // EACH
    )


def rising(contract: Contract, seed: int) -> Drawn:
    """Rows one after another, whose level rises by two and a half times the noise."""
    generator, rows = np.random.default_rng(seed), GROUPS * EACH
    features = np.nan_to_num(generate(contract, rows, seed))
    moments = np.arange(rows)
    level = 100 + 100 * moments / rows
    return Drawn(features, level + 20 * signal(features) + generator.normal(0, 40, rows), moments)


def signal(features: Array) -> Array:
    """What the features say of the target: a sum with deviation 1."""
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    total: Array = scaled.sum(axis=1)
    return np.asarray(total / total.std(), dtype=np.float64)


def by(contract: Contract, kind: Kind) -> Contract:
    """The contract, with rows divided by a column that is no feature."""
    return contract.model_copy(update={"split": SplitBy(by=kind, column="unit")})


def told(contract: Contract, kind: Kind, known: Drawn, new: Drawn) -> dict[str, Interval]:
    """The score that each way of splitting tells, and that of new rows; intervals from whole units."""
    model = build(contract, *MODELS[kind], seed=0)
    frame = pd.DataFrame(known.features, columns=contract.names).assign(unit=known.units)
    bootstrap, found = Bootstrap(seed=0, resamples=2000, confidence=0.95), dict[str, Interval]()
    for name, of in (("by rows", contract), (f"by {kind}", by(contract, kind))):
        predicted = out_of_fold.predict(
            model, known.features, known.target, deal(of, frame, FOLDS, 0).pairs()
        )
        found[name] = _score(known, predicted, kind, bootstrap)
    predicted = model.fit(known.features, known.target).predict(new.features)
    return found | {"on new rows": _score(new, predicted, kind, bootstrap)}


def _score(rows: Drawn, predicted: Array, kind: str, bootstrap: Bootstrap) -> Interval:
    losses = pd.Series((predicted - rows.target) ** 2).dropna()
    if kind == "group":
        losses = losses.groupby(rows.units).mean()
    return score_interval(np.asarray(losses, dtype=np.float64), bootstrap)


def measure(contract: Contract, draws: int = DRAWS) -> dict[Kind, list[dict[str, Interval]]]:
    """What is told of each draw of the two tables, by the way in which their rows belong together."""
    found: dict[Kind, list[dict[str, Interval]]] = {"group": [], "time": []}
    for seed in range(draws):
        new = grouped(contract, draws + seed, 10 * GROUPS)
        found["group"].append(told(contract, "group", grouped(contract, seed), new))
        whole = rising(contract, seed)
        first, last = (
            Drawn(*(part[rows] for part in whole)) for rows in (slice(360), slice(360, None))
        )
        found["time"].append(told(contract, "time", first, last))
    return found


def draw(contract: Contract, found: dict[Kind, list[dict[str, Interval]]], path: Path) -> None:
    """How each way divides 60 rows of 12 groups, and what it tells of the first draw."""
    frame = pd.DataFrame(generate(contract, 60, 0), columns=contract.names)
    moment, group = np.arange(60), np.random.default_rng(1).permutation(60) % 12
    with rc_context(plots.STYLE):
        figure, panels = plots.panels(
            "Rows of the test set in orange, and the error that each split tells", 5, 12.0, 3.2
        )
        ways = {
            "hash": (contract, moment), "group": (by(contract, "group"), group),
            "time": (by(contract, "time"), moment),
        }  # fmt: skip
        for at, (kind, (of, unit)) in zip(panels[:3], ways.items(), strict=True):
            tested = split(of, frame.assign(unit=unit), Split(seed=4, holdout=0.2))
            colours = np.where(tested, plots.ORANGE, plots.BLUE)
            at.scatter(moment, group, c=colours, s=14)
            at.set(xlabel="time", ylabel="group", title=f"by {kind}")
            at.set_yticks([])
        for at, table, drawn in zip(panels[3:], TABLES.values(), found.values(), strict=True):
            scores = drawn[0]
            plots.intervals(at, scores, scores["on new rows"]["value"])
            at.set(xlabel="RMSE", title=f"{table}, draw 1")
        figure.savefig(path, metadata={"Software": None})


def main() -> int:
    """Print what was found, and draw it where that is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--picture", type=Path, help="PNG file to draw it into")
    options = parser.parse_args()
    contract = load(Project.here().contract)
    found = measure(contract)
    for kind, draws in found.items():
        print(f"RMSE of {TABLES[kind]}" + "".join(f"{name:>20}" for name in draws[0]))
        for place, scores in enumerate(draws, 1):
            print(
                f"  draw {place}" + "".join(f"{interval(score):>20}" for score in scores.values())
            )
    if options.picture:
        draw(contract, found, options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
