"""Measure in how many windows the monitor finds what `mlref simulate` plants, and how often it is wrong.

    python benchmarks/detection.py [--quick] [--seeds N] [--live]

For each seed and scenario (none, unit, level) the service gets 500 rows and their ground truth on an empty
log, and the monitor judges windows of 50, as in the lesson on monitoring. The application, the log and the
monitor are those of `mlref serve` and `mlref monitor`, in one process and without a socket; `--live` starts
the service instead and asks it over HTTP, for the same rows. It needs `make train`. It prints a table and, as
its last line, one JSON object.
"""

import argparse
import contextlib
import datetime
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from rich.console import Console
from rich.progress import track
from side_by_side import ROOT, print_result, table

from mlref.bundle.store import Store
from mlref.core.storage import Project
from mlref.monitoring.drift import findings
from mlref.monitoring.reference import PREDICTION
from mlref.monitoring.run import Asked, run
from mlref.monitoring.simulate import Send, moved, simulate, to_service
from mlref.monitoring.watched import watched
from mlref.monitoring.windows import Size
from mlref.prediction_log import ground_truth
from mlref.prediction_log.writer import open_log
from mlref.serving.app import create_app
from mlref.serving.model import Model, Service
from mlref.serving.request import Limits

ROWS, WINDOW = 500, 50
SCENARIOS = ("none", "unit", "level")
NEVER = ROWS // WINDOW + 1
"""Window of detection of what was not found."""
FLUSH = 60.0
"""Seconds for the log's writer; it only bounds a hang."""

Seen = dict[str, list[int]]
"""Numbers of the windows in alarm, by what they are about."""


@contextlib.contextmanager
def in_process(project: Project) -> Iterator[Send]:
    """The service's application with its log."""
    with contextlib.closing(open_log(project)) as log:
        service = Service(Model(*Store(project.store).open("champion"), Limits()), log)

        def labels(given: Any) -> dict[str, list[str]]:
            log.flush(FLUSH)
            return vars(ground_truth.add(log.database, given))

        client = TestClient(create_app(service, store=labels))
        yield lambda path, body: (client.post(path, json=body) if body else client.get(path)).json()
        log.flush(FLUSH)


@contextlib.contextmanager
def live(project: Project) -> Iterator[Send]:
    """`mlref serve` at an address of its own."""
    command = [sys.executable, "-m", "mlref.cli", "serve", "--port", "0", "--drain", "0"]
    with subprocess.Popen(command, cwd=project.root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield to_service(process.stdout.readline().split("answers at ")[1].split()[0])
        process.terminate()  # what it has answered is in the log when it ends


def judge(project: Project) -> Seen:
    """What the monitor says of the log."""
    asked, now = Asked(Size.parse(str(WINDOW))), datetime.datetime.now(datetime.UTC)
    seen: Seen = {}
    for window in run(project, asked, now).judged:
        for one in findings(window):
            if one.alarm:
                kind = "truth" if watched()[one.monitor].topic == "performance" else one.column
                seen.setdefault(kind, []).append(window.number)
    return seen


def measure(project: Project, served: Any, scenario: str, seed: int, known: Path) -> Seen:
    """Send a scenario to a service on a log that knows the thresholds and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "log.db"
        if known.exists():
            shutil.copy(known, file)
        os.environ["MLREF_LOG_URL"] = f"sqlite:///{file}"
        if not known.exists():  # the first look at a model simulates its thresholds
            with in_process(project) as send:
                simulate(project, "none", send, WINDOW, 0)
            judge(project)
            with contextlib.closing(open_log(project)) as log, log.database.begin() as connection:
                for name in ("predictions", "label_events", "monitor_windows", "monitor_alarms"):
                    connection.exec_driver_sql(f"DELETE FROM {name}")
            shutil.copy(file, known)
        with served(project) as send:
            simulate(project, scenario, send, ROWS, seed)
        return judge(project)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--live", action="store_true", help="start the service, and ask over HTTP")
    parser.add_argument("--quick", action="store_true", help="one seed: that it runs")
    options = parser.parse_args()
    project, seeds = Project(ROOT), range(1 if options.quick else options.seeds)
    os.environ["MLREF_QUIET"] = "1"
    column = moved(Store(project.store).open("champion")[0].contract).name
    runs = [(scenario, seed) for scenario in SCENARIOS for seed in seeds]
    found: dict[str, list[Seen]] = {scenario: [] for scenario in SCENARIOS}
    with tempfile.TemporaryDirectory() as folder:
        for scenario, seed in track(runs, "runs", console=Console(stderr=True), transient=True):
            served = live if options.live else in_process
            known = Path(folder) / "thresholds.db"
            found[scenario].append(measure(project, served, scenario, seed, known))
    figures, rows = {"seeds": float(len(seeds))}, []
    # a column in another unit moves the prediction, too: that is no other alarm
    for scenario, what in zip(SCENARIOS, ("", column, "truth"), strict=True):
        first = [min(one.get(what, [NEVER])) for one in found[scenario]]
        others = sum(bool({*one} - {what, PREDICTION}) for one in found[scenario])
        if scenario == "none":
            others = sum(map(bool, found[scenario]))
        median = statistics.median(first)
        figures |= {f"{scenario}_window": median} if what else {}
        figures[f"{scenario}_other_alarms"] = float(others)
        late = sum(one == NEVER for one in first)
        cells = (f"{median:g}", f"{max(first)}", f"{late}") if what else ("–", "–", "–")
        rows.append((scenario, what or "–", *cells, f"{others}"))
    title = f"{len(seeds)} seeds, {ROWS} rows each, windows of {WINDOW}"
    table(title, "scenario", "found in", "median window", "last", "not found", "runs with another alarm",
          rows=rows)  # fmt: skip
    print_result("detection", {}, figures, ("numpy", "scipy"))


if __name__ == "__main__":
    main()
