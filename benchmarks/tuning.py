"""Time a search: 100 settings of an elastic net, tuned and published, against scikit-learn under MLflow.

    python benchmarks/tuning.py [--quick] [--rounds N]

Compares, in alternation and in one run, each with a new MLflow store:

- `mlref tune` on a grid of 100 settings with 5 folds, three times, nested, then the fit of the best one and
  the publication, which imports MLflow meanwhile, against GridSearchCV on the same
  Pipeline, grid, rows and numbers of folds under `mlflow.sklearn.autolog` with its default model logging;
  both search in one process, and every trial is a run in MLflow;
- a search of two CPU-minutes in one process against the same in two.

It prints tables of medians and, as its last line, one JSON object.
"""

import contextlib
import sqlite3
import statistics
import tempfile
from pathlib import Path
from typing import Any

import yaml
from side_by_side import alternate, fresh_clone, report, rounds, wall


def grid(steps: int) -> dict[str, Any]:
    """Five times so many settings of an elastic net."""
    alphas = {"low": 0.001, "high": 1, "log": True, "steps": steps}
    return {"alpha": alphas, "l1_ratio": [0.1, 0.3, 0.5, 0.7, 0.9]}


TREES = {"n_estimators": [100, 200, 300], "max_depth": [2, 3, 4], "learning_rate": [0.03, 0.1, 0.3]}
FEW_TREES = {"n_estimators": [10, 20], "max_depth": [1, 2]}

OURS = """
import subprocess, sys
search = subprocess.Popen([sys.executable, "-m", "mlref.cli", "tune"])
from mlref.tracking import run_log, store
from mlref.bundle.package import TRUSTED
from mlref.core.contract import load
from mlref.data.tables import encode, read_parquet
from mlref.core.storage import Project, digest, read_json
from mlref.training import train
import skops.io

project = Project.here()
contract = load(project.contract)
with store.open_store(project):
    pass
assert search.wait() == 0
train.run(project)
tuning, frame = read_json(project.tuning), read_parquet(project.train)
model = skops.io.load(project.model, trusted=TRUSTED)
run_log.publish(project, contract, run_log.RunLog(
    fingerprint="benchmark", model=model, trusted=TRUSTED,
    example=encode(contract, frame)[0][:1], parameters=tuning["parameters"],
    metrics={"cv_rmse": tuning["candidates"][tuning["model"]]["rmse"]},
    tags={"model": tuning["model"], "digest": digest(project.model)}, trials=tuning["trials"],
    datasets={"training": (project.train, frame, digest(project.train))},
    artifacts={"": [project.tuning]}, card="", registered=[],
))
"""
THEIRS = """
import mlflow
from sklearn.model_selection import GridSearchCV, RepeatedKFold
from mlref.core import settings
from mlref.core.contract import load
from mlref.data.tables import encode, read_parquet
from mlref.core.storage import Project
from mlref.training.candidates import build
from mlref.training.sampling import grid

project = Project.here()
contract, tune = load(project.contract), settings.load(project.params).tune
features, target = encode(contract, read_parquet(project.train))
mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.sklearn.autolog(max_tuning_runs=None)
with mlflow.start_run():
    GridSearchCV(
        build(contract, "elastic_net", {}, tune.seed),
        [{f"estimate__{name}": [value] for name, value in setting.items()}
         for setting in grid(tune.candidates["elastic_net"])],
        scoring="neg_root_mean_squared_error",
        cv=RepeatedKFold(n_splits=tune.folds, n_repeats=tune.repeats, random_state=tune.seed),
    ).fit(features, target)
"""


def set_search(clone: Path, name: str, space: dict[str, Any]) -> None:
    """Put one candidate above the baselines."""
    path = clone / "config" / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["tune"]["candidates"] = {"mean": {}, "single_feature": {}, name: space}
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def trials(clone: Path, model: str = "") -> tuple[int, float]:
    """How many trials of a model an MLflow store has, and the milliseconds that each took to write."""
    with contextlib.closing(sqlite3.connect(clone / "mlflow.db")) as database:
        count, first, last = database.execute(
            "select count(*), min(start_time), max(end_time) from runs join tags using (run_uuid)"
            " where key = 'mlflow.parentRunId' and name like ?",
            (f"{model}%",),
        ).fetchone()
    return count, (last - first) / count


def main() -> None:
    """Measure, print the tables and the JSON line."""
    repeat = rounds(__doc__)
    quick = repeat == 1
    steps = 2 if quick else 20
    published: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        clone = fresh_clone(Path(folder))
        python = ("env", f"PYTHONPATH={clone / 'src'}", "python")

        def run(script: str, model: str = "") -> float:
            for file in clone.glob("mlflow.db*"):
                file.unlink()
            seconds = wall(clone, *python, "-c", script)
            count, milliseconds = trials(clone, model)
            assert count == 5 * steps, f"{count} trials are in MLflow, not {5 * steps}"
            if model:
                published.append(milliseconds)
            return seconds

        def tune(jobs: int) -> float:
            return wall(clone, *python, "-m", "mlref.cli", "tune", "--jobs", str(jobs))

        for stage in ("ingest", "validate", "split"):
            wall(clone, *python, "-m", "mlref.cli", stage)
        set_search(clone, "elastic_net", grid(steps))
        seconds = alternate(
            repeat, tune=lambda: run(OURS, "elastic_net"), gridsearch_autolog=lambda: run(THEIRS)
        )
        set_search(clone, "gradient_boosting", FEW_TREES if quick else TREES)
        seconds |= alternate(
            max(1, repeat // 2), one_process=lambda: tune(1), two_processes=lambda: tune(2)
        )
    one, two = (statistics.median(seconds[name]) for name in ("one_process", "two_processes"))
    report(
        "tuning",
        seconds,
        ratios={"wall_vs_gridsearch_autolog": ("tune", "gridsearch_autolog")},
        figures={
            "publish_ms_a_trial": statistics.median(published),
            "two_processes": one / two,
        },
        packages=("mlflow", "scikit-learn", "joblib"),
    )


if __name__ == "__main__":
    main()
