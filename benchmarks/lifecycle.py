"""Time the life of a model: the whole pipeline against a stock MLflow script, both from nothing.

    python benchmarks/lifecycle.py [--quick] [--rounds N]

Compares, in alternation and in one run, each in a fresh clone with the packages installed:

- `make train` on an empty store against a script that does what MLflow's own elastic-net example does:
  a new SQLite store, one fit, three metrics, `log_model` with default arguments and registration;
- `make train` with nothing changed against `dvc status`;
- `mlref --help` against `mlflow --help`;
- the peak memory of each stage.

It prints a table of medians and, as its last line, one JSON object.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
WRITTEN = (
    "data/raw",
    "data/validated",
    "data/split",
    "models",
    "reports",
    "mlartifacts",
    ".dvc/cache",
    ".dvc/tmp",
)
STAGES = ("ingest", "validate", "split", "tune", "train", "package", "evaluate", "register")
STOCK = """
import numpy as np, mlflow
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from sklearn.model_selection import train_test_split
mlflow.set_tracking_uri("sqlite:///mlflow.db")
features, target = load_diabetes(return_X_y=True, as_frame=True)
train, test, known, actual = train_test_split(features, target, random_state=42)
with mlflow.start_run():
    model = ElasticNet(alpha=0.05, l1_ratio=0.5, random_state=42).fit(train, known)
    predicted = model.predict(test)
    mlflow.log_params({"alpha": 0.05, "l1_ratio": 0.5})
    mlflow.log_metric("rmse", float(np.sqrt(mean_squared_error(actual, predicted))))
    mlflow.log_metric("mae", mean_absolute_error(actual, predicted))
    mlflow.log_metric("r2", r2_score(actual, predicted))
    mlflow.sklearn.log_model(model, name="model", registered_model_name="stock")
"""


def environment() -> dict[str, str]:
    """What `make` exports, for the commands that run without it."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MLREF_")}
    plain.pop("PYTHONDONTWRITEBYTECODE", None)
    path = f"{Path(sys.executable).parent}{os.pathsep}{plain['PATH']}"
    return plain | {
        "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
        "GX_ANALYTICS_ENABLED": "false", "DVC_NO_ANALYTICS": "1",
    }  # fmt: skip


def wall(folder: Path, *command: str) -> float:
    """Seconds that a command takes; what it prints is read and thrown away."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return seconds


def peak(folder: Path, *command: str) -> float:
    """Peak resident memory of a command, in MB."""
    process = subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed")
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)  # bytes on macOS
    return float(kilobytes / 1024)


def empty(clone: Path) -> None:
    """Bring a clone back to where nobody has trained in it."""
    for name in WRITTEN:
        shutil.rmtree(clone / name, ignore_errors=True)
    for file in clone.glob("mlflow.db*"):
        file.unlink()


def alternate(rounds: int, **measured: Callable[[], float]) -> dict[str, list[float]]:
    """Measure each in turn, so that a drift of the machine's speed meets all alike."""
    found: dict[str, list[float]] = {name: [] for name in measured}
    work = [(name, run) for _ in range(rounds) for name, run in measured.items()]
    for name, run in track(
        work, " and ".join(measured), console=Console(stderr=True), transient=True
    ):
        found[name].append(run())
    return found


def measure(folder: Path, rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """All seconds by what took them, and all peaks by stage."""
    clone, stock = folder / "clone", folder / "stock"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    stock.mkdir()
    (stock / "stock.py").write_text(STOCK)
    # The clone's `make train` is `mlref pipeline` once the environment is there; the packages are this one's.
    pipeline = ("env", f"PYTHONPATH={clone / 'src'}", "mlref", "pipeline")

    def from_nothing() -> float:
        empty(clone)
        return wall(clone, *pipeline)

    def stock_script() -> float:
        shutil.rmtree(stock / "mlruns", ignore_errors=True)
        (stock / "mlflow.db").unlink(missing_ok=True)
        return wall(stock, "python", "stock.py")

    wall(clone, *pipeline)  # compiles the clone's bytecode
    seconds = alternate(rounds, pipeline=from_nothing, stock_mlflow=stock_script)
    seconds |= alternate(
        max(rounds, 5) if rounds > 1 else 1,
        noop=lambda: wall(clone, *pipeline), dvc_status=lambda: wall(clone, "dvc", "status"),
    )  # fmt: skip
    seconds |= alternate(
        max(rounds, 5) if rounds > 1 else 1,
        help=lambda: wall(clone, "mlref", "--help"),
        mlflow_help=lambda: wall(clone, "mlflow", "--help"),
    )
    shutil.rmtree(clone / "models" / "store")
    peaks = {stage: peak(clone, *pipeline[:3], stage) for stage in STAGES}
    return seconds, peaks


def main() -> None:
    """Measure, print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=5, help="repetitions of the long measurements"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one repetition: that it runs, not how fast"
    )
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    with tempfile.TemporaryDirectory() as folder:
        seconds, peaks = measure(Path(folder), rounds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {
        f"{ours}_vs_{theirs}": medians[ours] / medians[theirs]
        for ours, theirs in (
            ("pipeline", "stock_mlflow"),
            ("noop", "dvc_status"),
            ("help", "mlflow_help"),
        )
    }
    report(seconds, ratios, peaks)
    result: dict[str, Any] = {
        "benchmark": "lifecycle",
        "ratios": {name: round(value, 3) for name, value in ratios.items()},
        "figures": {f"{name}_seconds": round(value, 3) for name, value in medians.items()}
        | {"peak_mb": round(max(peaks.values()), 1)},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in ("mlflow", "dvc", "scikit-learn")},
    }
    print(json.dumps(result))


def report(
    seconds: dict[str, list[float]], ratios: dict[str, float], peaks: dict[str, float]
) -> None:
    """Print what was measured as tables for people."""
    console = Console()
    times = Table("seconds", "median", "least", "most", title="Wall time")
    for name, values in seconds.items():
        times.add_row(name, *(f"{f(values):.2f}" for f in (statistics.median, min, max)))
    compared = Table("ours / theirs", "ratio", title="Below 1: ours costs less")
    for name, value in ratios.items():
        compared.add_row(name, f"{value:.2f}")
    memory = Table("stage", "peak MB", title="Peak memory")
    for name, value in peaks.items():
        memory.add_row(name, f"{value:.0f}")
    for table in (times, compared, memory):
        console.print(table)


if __name__ == "__main__":
    main()
