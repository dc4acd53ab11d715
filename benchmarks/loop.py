"""Count the windows from a change of concept to the alarm, the promotion and the recovery.

    python benchmarks/loop.py [--quick] [--seeds N] [--rows N] [--results FILE]

A whole loop costs two minutes of CPU (`make loop`), most of it in the pipeline. So here the *model* is a
ridge regression of rows from the population of benchmarks/alarms.py, and everything that decides is the
project's own: thresholds, monitors, alarms, the dating of the change, the policy's settings, the gate's
checks after a change, and the looks of the rollback. Each seed has ten quiet windows of 200 rows, then 30
windows of each change, and a quiet life of 40 windows. The truth never depends on the model that answers.

*Recovered* is the first window in which the champion's RMSE is within 5 % of that of a model trained on
2,000 rows of the new concept. Each seed is written to FILE when it is finished (dist/loop.jsonl), and a run
that is started again goes on after the last one. It needs `make train`. It prints tables and, as its last
line, one JSON object.
"""

import argparse
import datetime
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from alarms import Model, Population
from rich.console import Console
from rich.progress import track
from side_by_side import ROOT, print_result, table

from mlref.core.rows import Array
from mlref.core.settings import Settings
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, rounded
from mlref.core.task import Regression
from mlref.evaluation.compare import compare, score_difference
from mlref.monitoring import performance
from mlref.monitoring.act import changed
from mlref.monitoring.alarms import follow
from mlref.monitoring.rollback import looks
from mlref.monitoring.thresholds import WINDOWS, Thresholds
from mlref.monitoring.windows import moment
from mlref.prediction_log.monitored import Alarm, JudgedWindow
from mlref.registry.duel import better, not_worse, strict

ROWS = 200
"""Of a window."""
QUIET, CHANGED = 10, 30
CHANGES = ("level", "slopes")
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC).timestamp()
STEPS = ("alarm", "promotion", "recovery")

Found = dict[str, Any]


class Life:
    """A champion in service: its windows and alarms, its labels, and what the policy does about them."""

    def __init__(
        self, origin: Model, thresholds: Thresholds, settings: Settings, seed: list[int]
    ) -> None:
        self.origin, self.population, self.settings = origin, origin.population, settings
        self.draw = np.random.default_rng(seed)
        self.features, self.truth = np.empty((0, origin.training.shape[1])), np.empty(0)
        self.acted, self.retrained = set[str](), list[int]()
        self.events: Found = {"promotions": [], "rollbacks": [], "alarms": []}
        self.former: Model | None = None
        self.crown(origin, thresholds)

    def crown(self, model: Model, thresholds: Thresholds) -> None:
        """A new champion is a new reference."""
        self.champion, self.thresholds, self.since = model, thresholds, len(self.truth)
        self.carried: Found = {}
        self.windows, self.active = list[JudgedWindow](), list[Alarm]()

    def concept(self, change: str, features: Array, truth: Array) -> Array:
        """The truth as `mlref simulate` changes it."""
        assert self.origin.known.residuals is not None
        std, value = self.origin.known.residuals.std(), self.origin.model.predict(features)
        if change == "level":
            return truth + 0.8 * std
        slope = value - self.origin.out_of_fold.mean()
        moved: Array = truth - 0.7 * std * slope / value.std() if change else truth
        return moved

    def window(self, change: str) -> tuple[Array, Array]:
        """Serve a window and its labels, judge it, and act; returns its rows."""
        features, truth = self.population.draw(self.draw, ROWS)
        truth = self.concept(change, features, truth)
        time = START + len(self.truth) + np.arange(ROWS)
        rows = self.champion.answered(features, truth, time)
        self.features = np.vstack([self.features, features])
        self.truth = np.append(self.truth, truth)
        found = performance.judge(self.thresholds, rows, self.carried, 10**9)
        self.carried, end = found.carried, moment(time.max())
        kept = rounded(found._asdict())
        self.windows.append(JudgedWindow("", "", "truth", "", 0, end, end, ROWS, 0, kept))
        training = len(self.champion.training)
        now = follow(self.active, self.windows[-1:], training)
        self.active = [alarm for alarm in now if alarm.state == "open"]
        place = len(self.truth) // ROWS
        if any(alarm.windows == 1 for alarm in self.active):
            self.events["alarms"].append(place)
        if not self.rolled_back(place):
            self.act(place)
        return features, truth

    def rolled_back(self, place: int) -> bool:
        """Take the promotion back where the former champion is shown better since."""
        if self.former is None:
            return False
        rows, truth = self.features[self.since :], self.truth[self.since :]
        losses = [(one.model.predict(rows) - truth) ** 2 for one in (self.champion, self.former)]
        error = self.settings.act.rollback_error
        for look in looks(*losses, self.settings.monitor.smallest_window, error):
            now, then = (float(np.sqrt(loss[: look.rows].mean())) for loss in losses)
            gain = self.settings.gate.smallest_gain * now
            if look.chance < look.allowed and now - then >= gain:
                self.events["rollbacks"].append(place)
                former, self.former = self.former, None
                self.crown(former, watch(former, self.settings))
                return True
        return False

    def act(self, place: int) -> None:
        """Retrain where an alarm asks for it and the policy allows it."""
        policy = self.settings.act
        for alarm in self.active:
            asks = {alarm.monitor, *alarm.evidence["also"]} & {*policy.alarms}
            spent = sum(place - at < WINDOWS for at in self.retrained) >= policy.budget
            rests = self.retrained and place - self.retrained[-1] < policy.cool_down
            if not asks or alarm.opened in self.acted or spent or rests:
                continue
            first = int(np.ceil(changed(self.windows, alarm).timestamp() - START))
            if len(self.truth) - max(first, 0) < self.settings.retrain.rows:
                continue
            self.acted.add(alarm.opened)
            self.retrained.append(place)
            if model := self.challenger(max(first, 0)):
                self.events["promotions"].append(place)
                self.former = self.champion
                self.crown(model, watch(model, self.settings))
            return

    def challenger(self, first: int) -> Model | None:
        """A model of four fifths of the rows since a change; None where the gate keeps the champion."""
        limits, task = self.settings.gate, Regression()
        features, truth = self.features[first:], self.truth[first:]
        learned = np.arange(len(truth)) % 5 > 0
        model = Model(self.population, features[learned], truth[learned])
        values = model.model.predict(features)
        values[learned] = model.out_of_fold
        others = self.champion.model.predict(features)
        newer = compare(truth, values, others, {}, strict(limits), task)
        # one row in five of the older ones is on the test side, which neither has trained on
        old, known = self.features[:first:5], self.truth[:first:5]
        older = None
        if len(old) >= limits.smallest_holdout:
            both = (one.model.predict(old) for one in (model, self.champion))
            older = compare(known, *both, {}, limits, task)
        mean = np.full(learned.sum(), truth[learned].mean())
        gain = score_difference(
            truth[learned], model.out_of_fold, mean, self.settings.evaluate, task
        )
        checks = better({"since": newer}, limits), not_worse(older, limits, limits.largest_old_loss)
        beats_mean = gain["upper"] < 0  # as the gate asks of every model
        passed = beats_mean and all(check.verdict == "promote" for check in checks)
        return model if passed else None


def watch(model: Model, settings: Settings) -> Thresholds:
    """Thresholds of its errors alone: drift asks for no retraining."""
    return Thresholds(None, "", model.known._replace(numbers={}, levels={}), settings.monitor)


def rmse(model: Model, features: Array, truth: Array) -> float:
    """Of a model on rows."""
    return float(np.sqrt(np.mean((model.model.predict(features) - truth) ** 2)))


def measure(population: Population, seed: int, settings: Settings) -> Found:
    """Both changes and a quiet life of one seed."""
    found: Found = {"seed": seed}
    rows = len(population.target) * 4 // 5
    origin = Model(population, *population.draw(np.random.default_rng(seed), rows))
    thresholds = watch(origin, settings)
    for place, change in enumerate(CHANGES):
        life = Life(origin, thresholds, settings, [seed, place])
        for _ in range(QUIET):
            life.window("")
        features, truth = population.draw(life.draw, 2000)
        best = Model(population, features, life.concept(change, features, truth))
        cost, steps, errors = list[float](), dict.fromkeys(STEPS, 0), list[float]()
        for number in range(1, CHANGED + 1):
            served = life.window(change)
            alarmed = any(at > QUIET for at in life.events["alarms"])
            steps["alarm"] = steps["alarm"] or number * alarmed
            promoted = any(at > QUIET for at in life.events["promotions"])
            errors.append(rmse(life.champion, *served) / rmse(best, *served))
            cost.append(rmse(life.origin, *served) / rmse(best, *served))
            steps["promotion"] = steps["promotion"] or number * promoted
            # the champion of the end of a window serves the next one
            well = promoted and errors[-1] <= 1.05 and number > steps["promotion"]
            steps["recovery"] = steps["recovery"] or number * well
        found[change] = life.events | {"steps": steps, "cost": cost[0], "last": errors[-1]}
    quiet = Life(origin, thresholds, settings, [seed, 9])
    for _ in range(QUIET + CHANGED):
        quiet.window("")
    found["quiet"] = quiet.events
    return found


def main() -> None:
    """Measure seeds that are not measured yet, and print all."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", type=int, help="in place of retrain.rows in config/params.yaml")
    parser.add_argument("--results", type=Path, default=ROOT / "dist" / "loop.jsonl")
    parser.add_argument("--quick", action="store_true", help="one seed: that it runs")
    options = parser.parse_args()
    project = Project(ROOT)
    settings = load_settings(project.params)
    if options.rows:
        retrain = settings.retrain.model_copy(update={"rows": options.rows})
        settings = settings.model_copy(update={"retrain": retrain})
    if options.quick:
        options.seeds, options.results = 1, Path("/dev/null")
    population = Population(project)
    options.results.parent.mkdir(exist_ok=True)
    lines = options.results.read_text().splitlines() if options.results.is_file() else []
    found = [json.loads(line) for line in lines]
    left = [seed for seed in range(options.seeds) if seed not in {one["seed"] for one in found}]
    for seed in track(left, "seeds", console=Console(stderr=True), transient=True):
        found.append(measure(population, seed, settings))
        with options.results.open("a") as file:
            file.write(f"{json.dumps(found[-1])}\n")
    show(found, settings.retrain.rows)


def show(found: list[Found], rows: int) -> None:
    """Print the tables and the line for machines."""
    figures: dict[str, float] = {"seeds": len(found), "retrain_rows": rows}
    shown = []
    for change in CHANGES:
        runs = [one[change] for one in found]
        cells = []
        for step in STEPS:
            at = [one["steps"][step] or CHANGED + 1 for one in runs]
            figures[f"{change}_{step}"] = statistics.median(at)
            figures[f"{change}_no_{step}"] = late = sum(one > CHANGED for one in at)
            reached = [one for one in at if one <= CHANGED]
            most = str(max(reached)) if reached else "–"
            cells.append(f"{statistics.median(at):g} ({most}; {late} never)")
        again = sum(
            any(0 < at - QUIET - one["steps"]["promotion"] <= 5 for at in one["alarms"])
            for one in runs if one["steps"]["promotion"]
        )  # fmt: skip
        back = sum(len(one["rollbacks"]) for one in runs)
        figures |= {f"{change}_rollbacks": back, f"{change}_alarm_soon_after": again}
        cost = statistics.median(one["cost"] for one in runs)
        figures[f"{change}_cost"] = cost
        shown.append((change, f"× {cost:.2f}", *cells, f"{back}", f"{again}"))
    table(f"Windows of {ROWS} rows after the change, median (last) of {len(found)} seeds",
          "change", "RMSE", *STEPS, "rollbacks", "alarm within 5 windows of the promotion",
          rows=shown)  # fmt: skip
    quiet = [one["quiet"] for one in found]
    totals = {name: sum(len(one[name]) for one in quiet) for name in quiet[0]}
    figures |= {f"quiet_{name}": count for name, count in totals.items()}
    table(f"{len(found)} quiet lives of {QUIET + CHANGED} windows", *totals,
          rows=[tuple(str(count) for count in totals.values())])  # fmt: skip
    print_result("loop", {}, figures, ("numpy", "scipy", "scikit-learn"))


if __name__ == "__main__":
    main()
