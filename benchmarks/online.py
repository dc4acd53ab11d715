"""Online learning: rows a second, what it gains with and without a change of concept, and what the gate says.

    python benchmarks/online.py [--quick] [--seeds 8] [--verdicts 20] [--picture FILE]

It needs the champion and the training rows of `make train`. Rows are training rows with noise; the truth is a
ridge's prediction with an error as large as out of fold. After the change three columns count differently and
all values are higher, so that the RMSE of a frozen model grows by a fifth.
"""

import argparse
import math
import shutil
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
import yaml
from matplotlib import rc_context
from river import linear_model, optim
from side_by_side import ROOT, print_result, table
from sklearn.linear_model import SGDRegressor

from mlref.bundle.package import TRUSTED
from mlref.bundle.store import Store
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project
from mlref.data.tables import encode, read_parquet
from mlref.evaluation.plots import PALETTE, STYLE, panels
from mlref.online.learn import learn
from mlref.online.learner import Learner, take_apart
from mlref.online.propose import propose
from mlref.prediction_log import ground_truth
from mlref.prediction_log.ground_truth import Label
from mlref.prediction_log.ids import new_ids
from mlref.prediction_log.records import LoggedModel, Predicted
from mlref.prediction_log.writer import open_log
from mlref.registry.learned import Event

COUNTS, LEVEL = {2: 1.0, 7: -1.0, 8: 1.0}, 1.0
"""By their places, how the columns count differently after the change; and how much all values are higher."""
RATES = (0.0005, 0.003, 0.01)
ROWS, CHANGE, LAST = 3000, 1000, 1500
"""Labels, after how many of them the concept changes, and how many at the end are measured."""


class World:
    """Rows like those of training, and their truth."""

    def __init__(self, project: Project) -> None:
        self.predictor, self.record = Store(project.store).open("champion")
        self.model = Store(project.store).folder / f"{self.predictor.digest}.skops"
        self.train, _ = encode(self.predictor.contract, read_parquet(project.train))
        errors = self.predictor.intervals["out_of_fold"]["residuals"]
        self.error = float(np.sqrt(np.mean(np.square(errors))))

    def learner(self, rate: float) -> Learner:
        """A learner of the champion."""
        settings = load_settings(ROOT / "config" / "params.yaml").online
        fitted = skops.io.load(self.model, trusted=TRUSTED)
        changed = settings.model_copy(update={"rate": rate, "quota": 10**9})
        return Learner(fitted, self.record["model"], self.predictor.intervals, changed)

    def draw(self, rows: int, seed: int, change: int | None = None) -> tuple[Any, Any]:
        """Rows and truth; from row ``change`` on the concept is another one."""
        draw, train = np.random.default_rng(seed), self.train
        made = train[draw.integers(len(train), size=rows)].copy()
        for place, column in enumerate(self.predictor.contract.features):
            if column.type == "number":
                noise = draw.normal(0, 0.15 * train[:, place].std(), rows)
                low, high = train[:, place].min(), train[:, place].max()
                made[:, place] = np.clip(made[:, place] + noise, low, high)
        truth = self.predictor.values(made) + draw.normal(0, self.error, rows)
        if change is not None:
            units = (made - train.mean(axis=0)) / train.std(axis=0)
            moved = units[:, [*COUNTS]] @ [*COUNTS.values()]
            moved += LEVEL * moved.std()
            moved *= math.sqrt(1.2**2 - 1) * self.error / math.sqrt((moved**2).mean())
            truth[change:] += moved[change:]
        return made, np.clip(truth, *self.predictor.contract.target.bounds)

    def events(self, rows: int, seed: int, change: int | None = None) -> list[Event]:
        """The same, as the learner takes them."""
        made, truth = self.draw(rows, seed, change)
        cells = zip(
            made.tolist(), self.predictor.values(made).tolist(), truth.tolist(), strict=True
        )
        return [Event(at, str(at), str(at), *cell, "", 0.0) for at, cell in enumerate(cells)]


def speed(world: World, rows: int) -> tuple[dict[str, float], float]:
    """CPU seconds for so many rows, predicted, scored and learned; and megabytes that ours grew by."""
    events, learner = world.events(rows, 0), world.learner(0.003)
    prepare, _, _ = take_apart(world.learner(0.003).model(), world.record["model"])
    inputs = prepare.transform(np.array([event.row for event in events]))
    truth, found = [event.label for event in events], dict[str, float]()
    start = time.process_time()
    for block in range(0, rows, 2048):
        learner.follow(events[block : block + 2048])
    found["mlref, batches of 32"] = time.process_time() - start
    few = rows // 10
    one = linear_model.LinearRegression(optim.SGD(0.003), intercept_lr=0.003)
    records = [dict(enumerate(row)) for row in inputs[:few].tolist()]
    start = time.process_time()
    for record, actual in zip(records, truth, strict=False):
        one.predict_one(record)
        one.learn_one(record, actual)
    found["river, row by row"] = 10 * (time.process_time() - start)
    few = rows // 50
    other = SGDRegressor(penalty=None, learning_rate="constant", eta0=0.003)
    other.partial_fit(inputs[:1], truth[:1])
    start = time.process_time()
    for at in range(few):
        other.predict(inputs[at : at + 1])
        other.partial_fit(inputs[at : at + 1], truth[at : at + 1])
    found["scikit-learn, row by row"] = rows / few * (time.process_time() - start)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for block in range(0, rows, 2048):
        learner.follow(events[block : block + 2048])
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return found, (after - before) / 1e6


def gains(world: World, seeds: int) -> dict[str, dict[str, Any]]:
    """Absolute errors, shape (seeds, rows), quiet and changed, of the frozen champion and of each rate."""
    found: dict[str, dict[str, Any]] = {"quiet": {}, "changed": {}}
    for truth, change in (("quiet", None), ("changed", CHANGE)):
        for seed in range(seeds):
            events = world.events(ROWS, 100 + seed, change)
            frozen = [abs(event.label - event.champion) for event in events]
            found[truth].setdefault("frozen", []).append(frozen)
            for rate in RATES:
                done = world.learner(rate).follow(events)
                errors = [abs(e.label - (e.scored or e.champion)) for e in done]
                found[truth].setdefault(f"rate {rate:g}", []).append(errors)
    return found


def verdict(project: Project, world: World, seed: int, changed: bool) -> str:
    """What the gate would say in a copy of this clone, through the log, after 1,500 labels."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Project(Path(folder) / "mlref")
        for part in ("config", "data", "models", "reports"):
            shutil.copytree(project.root / part, clone.root / part)
        shutil.rmtree(clone.online, ignore_errors=True)
        settings = yaml.safe_load(clone.params.read_text())
        settings["online"] |= {"settle": 0, "quota": 10_000}
        clone.params.write_text(yaml.safe_dump(settings))
        rows, truth = world.draw(1500, 500 + seed, 500 if changed else None)
        model = LoggedModel("1", world.predictor.digest, world.predictor.contract)
        with open_log(clone) as log:
            for part in np.array_split(np.arange(len(rows)), 150):
                ids = new_ids(len(part))
                log.predictions(
                    Predicted(model, ids, rows[part], *world.predictor.predict(rows[part]))
                )
                log.flush(60)
                labels = zip(ids, truth[part].tolist(), strict=True)
                ground_truth.add(log.database, [Label(*label) for label in labels])
        learn(clone)
        said = propose(clone, dry_run=True)
    return said.partition("The gate would say: ")[2].partition(".")[0]


def draw(found: dict[str, dict[str, Any]], file: Path) -> None:
    """Draw the mean errors of 200 rows each, quiet and changed."""
    width = 200
    with rc_context(STYLE):
        figure, axes = panels("Mean absolute error by number of labels", 2, 9, 3.6)
        for at, (truth, of) in zip(axes, found.items(), strict=True):
            for color, (name, errors) in zip(PALETTE, of.items(), strict=False):
                means = np.array(errors).mean(axis=0).reshape(-1, width).mean(axis=1)
                at.plot(np.arange(len(means)) * width + width / 2, means, color=color, label=name)
            at.set_title(
                {"quiet": "Nothing changes", "changed": f"A change after {CHANGE} labels"}[truth]
            )
            at.set_xlabel("labels")
        low = min(at.get_ylim()[0] for at in axes)
        high = max(at.get_ylim()[1] for at in axes)
        for at in axes:
            at.set_ylim(low, high)
        axes[0].legend(loc="upper left")
        figure.savefig(file, metadata={"Software": None})


def main() -> int:
    """Measure, print the tables and the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rows and seeds: that it runs")
    parser.add_argument("--seeds", type=int, default=8, help="worlds for the table of errors")
    parser.add_argument("--verdicts", type=int, default=20, help="worlds for the gate, each way")
    parser.add_argument("--picture", type=Path, help="where to draw the errors, a .png")
    options = parser.parse_args()
    seeds, verdicts = (1, 0) if options.quick else (options.seeds, options.verdicts)
    project = Project(ROOT)
    world = World(project)
    rows = 4_096 if options.quick else 65_536
    seconds, grown = speed(world, rows)
    ours = seconds["mlref, batches of 32"]
    shown = [(name, f"{rows / spent:,.0f}") for name, spent in seconds.items()]
    table("Labelled rows a CPU second", "learner", "rows", rows=shown)
    found = gains(world, seeds)
    means = {
        truth: {name: np.array(errors)[:, -LAST:].mean() for name, errors in of.items()}
        for truth, of in found.items()
    }
    shown = [(n, *(f"{means[t][n]:.1f}" for t in means)) for n in means["quiet"]]
    table(f"Mean absolute error, last {LAST} of {ROWS}, {seeds} seeds", "model", *means, rows=shown)
    if options.picture:
        draw(found, options.picture)
    figures = {f"rows_a_second: {name}": rows / spent for name, spent in seconds.items()}
    figures |= {f"{t}: {n}": value for t, of in means.items() for n, value in of.items()}
    figures["grown_megabytes"] = grown
    for changed in (True, False) if verdicts else ():
        said = [verdict(project, world, seed, changed) for seed in range(verdicts)]
        counts = {word: said.count(word) for word in ("promote", "keep", "block")}
        name = "changed" if changed else "quiet"
        table(
            f"The gate, {verdicts} seeds, {name}", *counts, rows=[tuple(map(str, counts.values()))]
        )
        figures |= {f"gate, {name}: {word}": count / verdicts for word, count in counts.items()}
    ratios = {f"mlref / {name}": ours / spent for name, spent in seconds.items() if spent != ours}
    print_result("online", ratios, figures, ("numpy", "river", "scikit-learn"))
    return int(rows / ours < 20_000 and not options.quick)


if __name__ == "__main__":
    sys.exit(main())
