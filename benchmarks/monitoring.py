"""Time `mlref monitor` over a million predictions, and its statistics beside Evidently's.

    python benchmarks/monitoring.py [--quick] [--rows N] [--rounds N] [--postgres] [--peers]

Fills a log with N predictions (1,000,000) of 30 days and labels for three in ten of them, and simulates the
thresholds; then it times `mlref monitor --window 1d`, the start of the process and the page included, with
its peak memory: on SQLite, and with `--postgres` on a real server. With `--peers` it measures the CPU of the
statistics alone, from arrays in memory, beside Evidently's DataDriftPreset on the same arrays, in an
environment of its own with pandas 2.3, which it makes under dist/. It needs `make train`. It prints a table
and, as its last line, one JSON object.
"""

import argparse
import contextlib
import datetime
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from side_by_side import ROOT, environment, print_result, table

from mlref.bundle.store import Store
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project
from mlref.data.tables import encode, read_parquet
from mlref.monitoring import drift
from mlref.monitoring.reference import reference
from mlref.monitoring.simulate import jittered
from mlref.monitoring.thresholds import GRID, Thresholds
from mlref.monitoring.windows import table as to_window
from mlref.prediction_log.database import Database
from mlref.prediction_log.encode import encode as to_rows
from mlref.prediction_log.ids import lowest, to_text
from mlref.prediction_log.records import LoggedModel, Predicted
from mlref.prediction_log.schema import LABEL_EVENTS, insert

DAYS = 30
PART = 10_000

EVIDENTLY = """
import sys, time
import numpy as np, pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
before, after = (pd.DataFrame(np.load(name)) for name in sys.argv[1:])
for frame in (before, after):
    frame.columns = frame.columns.astype(str)
start = time.process_time()
Report([DataDriftPreset()]).run(after, before).dict()
print(time.process_time() - start)
"""


def fill(project: Project, url: str, rows: int) -> None:
    """Log predictions of 30 days, with labels for three in ten, and simulate the thresholds."""
    predictor, record = Store(project.store).open("champion")
    model = LoggedModel(str(record["version"]), predictor.digest, predictor.contract)
    known = reference(predictor)
    training, _ = encode(predictor.contract, read_parquet(project.train))
    draw = np.random.default_rng(0)
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=DAYS + 1)
    with contextlib.closing(Database(url, project.root)) as database:
        parts = range(0, rows, PART)
        for first in track(parts, "filling the log", console=Console(stderr=True), transient=True):
            count = min(PART, rows - first)
            made = jittered(draw, known, training, count)
            step = datetime.timedelta(days=DAYS) / rows
            ids = [
                f"{lowest(start + step * (first + n))[:-12]}{first + n:012x}" for n in range(count)
            ]
            answer = predictor.predict(made)
            labels = [
                (name, value, None, "clinic", to_text(start + step * (first + n)))
                for n, (name, value) in enumerate(zip(ids, answer.value.tolist(), strict=True))
                if n % 10 < 3
            ]
            errors = draw.normal(0, 54, len(labels))
            events: Any = [
                (a, b + e, *rest) for (a, b, *rest), e in zip(labels, errors, strict=True)
            ]
            with database.begin() as connection:
                insert(connection, to_rows([Predicted(model, ids, made, *answer)]))
                insert(connection, {LABEL_EVENTS: events})
        thresholds = Thresholds(
            database, predictor.digest, known, load_settings(project.params).monitor
        )
        for size in GRID:
            thresholds.at(size)


def monitor(url: str) -> tuple[float, float]:
    """Wall seconds and peak megabytes of a run over the whole log, of which nothing is kept."""
    with contextlib.closing(Database(url, ROOT)) as database, database.begin() as connection:
        for name in ("monitor_windows", "monitor_alarms", "monitor_state"):
            connection.exec_driver_sql(f"DELETE FROM {name}")
    command = (sys.executable, "-m", "mlref.cli", "-q", "monitor", "--window", "1d")
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment() | {"MLREF_LOG_URL": url})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3):
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - begun, usage.ru_maxrss / 1024


@contextlib.contextmanager
def databases(postgres: bool) -> Iterator[dict[str, str]]:
    """Empty databases, by their kind."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = {"sqlite": f"sqlite:///{folder / 'log.db'}"}
        if postgres:
            sys.path.insert(0, str(ROOT))
            from tests.postgres import running

            server = stack.enter_context(running(54329, "log", "benchmark"))
            server.create("log")
            urls["postgresql"] = server.url("log")
        yield urls


def statistics_alone(project: Project, rows: int, peers: bool) -> dict[str, float]:
    """CPU seconds of the drift statistics from arrays in memory, ours and Evidently's."""
    predictor, _ = Store(project.store).open("champion")
    known = reference(predictor)
    training, _ = encode(predictor.contract, read_parquet(project.train))
    made = jittered(np.random.default_rng(1), known, training, rows)
    value = predictor.values(made)
    window = to_window(made, value=value, lower=value - 90, upper=value + 90)
    thresholds = Thresholds(None, "", known, load_settings(project.params).monitor)
    thresholds.at(GRID[-1])
    drift.judge(thresholds, window[:1000], {}, 50)
    begun = time.process_time()
    drift.judge(thresholds, window, {}, 50)
    found = {"ours": time.process_time() - begun}
    if peers:
        python = _environment()
        with tempfile.TemporaryDirectory() as folder:
            names = [Path(folder) / f"{name}.npy" for name in ("before", "after")]
            for name, array in zip(names, (training, made), strict=True):
                np.save(name, array)
            said = subprocess.run(
                [python, "-c", EVIDENTLY, *names], check=True, capture_output=True, text=True
            )
        found["evidently"] = float(said.stdout.split()[-1])
    return found


def _environment() -> Path:
    """Evidently with the pandas that it works with."""
    folder = ROOT / "dist" / "evidently"
    python = folder / "bin" / "python"
    if not python.exists():
        uv = Path(sys.executable).parent / "uv"
        subprocess.run([uv, "venv", "--quiet", folder], check=True)
        wanted = ("evidently==0.7.23", "pandas<3", "numpy")
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *wanted], check=True)
    return python


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL, too")
    parser.add_argument("--peers", action="store_true", help="beside Evidently")
    parser.add_argument("--quick", action="store_true", help="a small log once: that it runs")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.rounds = 5_000, 1
    project, figures, rows = Project(ROOT), dict[str, float](), []
    with databases(options.postgres) as urls:
        for kind, url in urls.items():
            # in a process of its own: a child's peak memory counts from that of its parent
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                pool.submit(fill, project, url, options.rows).result()
            runs = [monitor(url) for _ in range(options.rounds)]
            seconds, peak = (statistics.median(part) for part in zip(*runs, strict=True))
            figures |= {f"{kind}_seconds": seconds, f"{kind}_peak_mb": peak}
            rows.append((kind, f"{seconds:.1f}", f"{peak:.0f}"))
    table(
        f"`mlref monitor` over {options.rows:,} predictions", "log", "seconds", "peak MB", rows=rows
    )
    alone = statistics_alone(project, options.rows, options.peers)
    figures |= {f"statistics_{name}_cpu_seconds": value for name, value in alone.items()}
    ratios = {"statistics_cpu": alone["ours"] / alone["evidently"]} if options.peers else {}
    print_result("monitoring", ratios, figures, ("numpy", "sqlalchemy", "scipy"))


if __name__ == "__main__":
    main()
