"""Count false alarms in quiet months, and the days until a fault is found, beside the usual rules.

    python benchmarks/alarms.py [--quick] [--references N] [--months N] [--results FILE]

The population is the contract's own rows with a little jitter. Each *reference* is a model of its own: rows
drawn from the population, a ridge regression, its profile and its out-of-fold errors, from which the
monitor simulates its thresholds. Then come quiet months of 30 windows from the same population, and months
in which a fault begins with the first window. False alarms are averaged over references, since one that is
unlucky is unlucky each day. On the same windows: Kolmogorov and Smirnov's test with p < 0.05 in any column,
and PSI > 0.2 in any column.

Each reference is written to FILE when it is finished (dist/alarms.jsonl), and a run that is started again
goes on after the last one. It needs `make train`. It prints a table and, as its last line, one JSON object.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from scipy.stats import ks_2samp
from side_by_side import ROOT, print_result, table
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlref.core.contract import load
from mlref.core.rows import Array
from mlref.core.settings import Monitor
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project
from mlref.data.split import profile
from mlref.data.tables import encode, read_parquet
from mlref.monitoring import drift, performance
from mlref.monitoring.alarms import follow
from mlref.monitoring.reference import Reference, reference
from mlref.monitoring.simulate import JITTER, moved
from mlref.monitoring.thresholds import WINDOWS, Thresholds
from mlref.monitoring.windows import Rows
from mlref.monitoring.windows import table as to_rows
from mlref.prediction_log.monitored import Alarm, JudgedWindow

SIZES = (50, 200, 1000)
SCENARIOS = ("shift", "unit", "gradual", "level", "slopes", "noise")
NEVER = WINDOWS + 1
"""Day of detection of what was not found in its month."""

Found = dict[str, Any]


class Population:
    """Rows of the contract's data with jitter, as many as are wanted."""

    def __init__(self, project: Project) -> None:
        self.contract = load(project.contract)
        self.features, self.target = encode(self.contract, read_parquet(project.validated))
        kinds = [one.type == "number" for one in self.contract.features]
        self.jitter = JITTER * np.where(kinds, np.nanstd(self.features, axis=0), 0.0)

    def draw(self, draw: np.random.Generator, rows: int) -> tuple[Array, Array]:
        """Rows and their truth."""
        at = draw.integers(len(self.target), size=rows)
        made = self.features[at] + draw.normal(size=(rows, len(self.jitter))) * self.jitter
        low, high = np.nanmin(self.features, axis=0), np.nanmax(self.features, axis=0)
        return np.clip(made, low, high), self.target[at]


class Model:
    """A reference: training rows, a model of them, and what a bundle would know."""

    def __init__(self, population: Population, features: Array, target: Array) -> None:
        self.population, self.training = population, features
        self.model = make_pipeline(StandardScaler(), Ridge(30.0))
        folds = KFold(10, shuffle=True, random_state=0)
        self.out_of_fold = out_of_fold = cross_val_predict(self.model, features, target, cv=folds)
        self.model.fit(features, target)
        errors, bounds = target - out_of_fold, np.quantile(out_of_fold, (1 / 3, 2 / 3))
        third, evenly = np.searchsorted(bounds, out_of_fold), np.linspace(0, 1, 21)
        parts = [errors[third == one] for one in range(3)]
        self.widths = np.array([np.quantile(np.abs(part), 0.9, method="higher") for part in parts])
        intervals = {
            "coverage": 0.9, "bounds": bounds.tolist(),
            "out_of_fold": {
                "predictions": np.quantile(out_of_fold, evenly).tolist(),
                "residuals": [np.quantile(part, evenly).tolist() for part in parts],
            },
        }  # fmt: skip
        self.known: Reference = reference(
            SimpleNamespace(
                contract=population.contract,
                profile=profile(population.contract, features, target),
                intervals=intervals,
            )
        )

    def window(self, draw: np.random.Generator, scenario: str, day: int, rows: int) -> Rows:
        """The rows of a day, with a fault or without."""
        features, truth = self.population.draw(draw, rows)
        contract, known = self.population.contract, self.known
        column = moved(contract)
        place, std = contract.names.index(column.name), known.numbers[column.name].std
        if scenario == "shift":
            features[:, place] += 0.5 * std
        elif scenario == "gradual":
            features[:, place] += 0.03 * std * (day + 1)
        elif scenario == "unit":
            features[draw.random(rows) < 0.05, place] /= 2.2046
        assert known.residuals is not None
        scale, value = known.residuals.std(), self.model.predict(features)
        if scenario == "level":
            truth = truth + 15 / 54 * scale
        elif scenario == "slopes":
            truth = truth - (value - value.mean()) / 2
        elif scenario == "noise":
            truth = value + 1.3 * (truth - value)
        return self.answered(features, truth, 0.0)

    def answered(self, features: Array, truth: Array, time: Any) -> Rows:
        """Labelled rows as the log would have them, predicted and labelled at a time."""
        value = self.model.predict(features)
        half = self.widths[self.known.third(value)]
        ends = {"lower": value - half, "upper": value + half}
        return to_rows(features, time=time, predicted=time, value=value, label=truth, **ends)


def month(
    model: Model, thresholds: Thresholds, draw: np.random.Generator, scenario: str, rows: int
) -> Iterator[tuple[int, int]]:
    """Alarms that are opened, by day."""
    carried: tuple[Found, Found] = ({}, {})
    active: list[Alarm] = []
    for day in range(WINDOWS):
        window = model.window(draw, scenario, day, rows)
        one = drift.judge(thresholds, window, carried[0], 50)
        two = performance.judge(thresholds, window, carried[1], 10**9)
        carried = (one.carried, two.carried)
        found = {"findings": [*one.findings, *two.findings], "facts": two.facts}
        changed = follow(active, [JudgedWindow("", "", "", "", day, "", "", rows, 0, found)], rows)
        opened = sum(alarm.windows == 1 and alarm.state == "open" for alarm in changed)
        touched = {(alarm.monitor, alarm.column) for alarm in changed}
        keep = [a for a in active if not any(a.column == c for _, c in touched)]
        active = [*keep, *(alarm for alarm in changed if alarm.state == "open")]
        yield day, opened


def usual(model: Model, draw: np.random.Generator, rows: int) -> tuple[bool, bool]:
    """Whether KS p < 0.05 and PSI > 0.2 are an alarm on a quiet window."""
    window = model.window(draw, "none", 0, rows).features
    tests, indices = [], []
    for before, after in zip(model.training.T, window.T, strict=True):
        tests.append(ks_2samp(before, after).pvalue)
        edges = np.unique(np.quantile(before, np.linspace(0, 1, 11)))
        edges[0], edges[-1] = -np.inf, np.inf
        shares = [np.histogram(part, edges)[0] / len(part) for part in (before, after)]
        a, b = (np.maximum(share, 1e-4) for share in shares)
        indices.append(((b - a) * np.log(b / a)).sum())
    return min(tests) < 0.05, max(indices) > 0.2


def measure(population: Population, seed: int, months: int, settings: Monitor, sizes: Any) -> Found:
    """Everything about one reference."""
    draw = np.random.default_rng(seed)
    model = Model(population, *population.draw(draw, len(population.target) * 4 // 5))
    found: Found = {"seed": seed}
    for rows in sizes:
        thresholds = Thresholds(None, "", model.known, settings)
        quiet = [
            sum(n for _, n in month(model, thresholds, draw, "none", rows)) for _ in range(months)
        ]
        rules = [usual(model, draw, rows) for _ in range(WINDOWS)]
        days = {}
        for scenario in SCENARIOS:
            opened = month(model, thresholds, draw, scenario, rows)
            days[scenario] = next((day + 1 for day, count in opened if count), NEVER)
        ks, psi = (int(sum(one[at] for one in rules)) for at in (0, 1))
        found[str(rows)] = {"quiet": quiet, "ks": ks, "psi": psi, "days": days}
    return found


def main() -> None:
    """Measure references that are not measured yet, and print all."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--references", type=int, default=24, help="models of their own")
    parser.add_argument("--months", type=int, default=10, help="quiet months of each")
    parser.add_argument("--results", type=Path, default=ROOT / "dist" / "alarms.jsonl")
    parser.add_argument("--quick", action="store_true", help="one small reference: that it runs")
    options = parser.parse_args()
    project, sizes = Project(ROOT), SIZES
    settings = load_settings(project.params).monitor
    if options.quick:
        options.references, options.months, sizes = 1, 2, (50,)
        options.results = Path("/dev/null")
        settings = settings.model_copy(update={"months": 100})
    population = Population(project)
    options.results.parent.mkdir(exist_ok=True)
    lines = options.results.read_text().splitlines() if options.results.is_file() else []
    found = [json.loads(line) for line in lines]
    left = [
        seed for seed in range(options.references) if seed not in {one["seed"] for one in found}
    ]
    for seed in track(left, "references", console=Console(stderr=True), transient=True):
        found.append(measure(population, seed, options.months, settings, sizes))
        with options.results.open("a") as file:
            file.write(f"{json.dumps(found[-1])}\n")
    show(found, sizes)


def show(found: list[Found], sizes: tuple[int, ...]) -> None:
    """Print the tables and the line for machines."""
    figures: dict[str, float] = {"references": len(found)}
    rows = []
    for size in map(str, sizes):
        quiet = [count for one in found for count in one[size]["quiet"]]
        figures[f"false_alarms_a_month_{size}"] = mean = statistics.mean(quiet)
        figures["months"] = len(quiet)
        figures[f"quiet_months_with_an_alarm_{size}"] = alarmed = sum(map(bool, quiet)) / len(quiet)
        usual = [sum(one[size][rule] for one in found) / len(found) for rule in ("ks", "psi")]
        figures |= {
            f"{rule}_alarms_a_month_{size}": value for rule, value in zip(("ks", "psi"), usual)
        }
        rows.append((size, f"{mean:.2f}", f"{alarmed:.0%}", *(f"{value:.1f}" for value in usual)))
    table("Quiet months", "rows a day", "alarms a month", "months with one", "KS p < 0.05", "PSI > 0.2",
          rows=rows)  # fmt: skip
    days = []
    for scenario in SCENARIOS:
        medians = [
            statistics.median(one[str(size)]["days"][scenario] for one in found) for size in sizes
        ]
        figures |= {f"day_{scenario}_{size}": value for size, value in zip(sizes, medians)}
        days.append((scenario, *(f"{v:g}" if v < NEVER else f"> {WINDOWS}" for v in medians)))
    table("Median day of detection", "fault", *(f"{size} rows" for size in sizes), rows=days)
    print_result("alarms", {}, figures, ("numpy", "scipy", "scikit-learn"))


if __name__ == "__main__":
    main()
