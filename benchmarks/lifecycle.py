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

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from side_by_side import (
    Seconds,
    alternate,
    environment,
    fresh_clone,
    report,
    rounds,
    table,
    wall,
)

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


def measure(folder: Path, rounds: int) -> tuple[Seconds, dict[str, float]]:
    """All seconds by what took them, and all peaks by stage."""
    clone, stock = fresh_clone(folder), folder / "stock"
    stock.mkdir()
    (stock / "stock.py").write_text(STOCK)
    # What the clone's `make train` runs once the environment is there; the packages are this one's.
    ours = ("env", f"PYTHONPATH={clone / 'src'}")
    pipeline = (*ours, "sh", "-c", "dvc repro && mlref register")

    def from_nothing() -> float:
        empty(clone)
        return wall(clone, *pipeline)

    def stock_script() -> float:
        shutil.rmtree(stock / "mlruns", ignore_errors=True)
        (stock / "mlflow.db").unlink(missing_ok=True)
        return wall(stock, "python", "stock.py")

    if rounds > 1:
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
    stages = STAGES if rounds > 1 else STAGES[:1]
    peaks = {stage: peak(clone, *ours, "mlref", stage) for stage in stages}
    return seconds, peaks


def main() -> None:
    """Measure, print the tables and the JSON line."""
    repeat = rounds(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        seconds, peaks = measure(Path(folder), repeat)
    table(
        "Peak memory", "stage", "peak MB",
        rows=[(stage, f"{megabytes:.0f}") for stage, megabytes in peaks.items()],
    )  # fmt: skip
    report(
        "lifecycle",
        seconds,
        ratios={
            "pipeline_vs_stock_mlflow": ("pipeline", "stock_mlflow"),
            "noop_vs_dvc_status": ("noop", "dvc_status"),
            "help_vs_mlflow_help": ("help", "mlflow_help"),
        },
        figures={"peak_mb": max(peaks.values())},
        packages=("mlflow", "dvc", "scikit-learn"),
    )


if __name__ == "__main__":
    main()
