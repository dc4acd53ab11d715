"""Train twelve published runs anew and compare every printed digit.

    python examples/published_runs.py

A metric that was published without its data, split and seeds is a claim. `config/published_runs.yaml` has
the runs, their protocol and their printed metrics. They are logged to an experiment of their own in MLflow.
Exit code 1 when a digit disagrees.
"""

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import yaml
from sklearn.model_selection import train_test_split

from mlref.console import show, table
from mlref.core import config
from mlref.core.contract import load, parse
from mlref.core.errors import MlrefError, SettingsError
from mlref.core.storage import Project
from mlref.data.ingest import ingest
from mlref.data.tables import decode
from mlref.evaluation.metrics import errors
from mlref.tracking.store import experiment, open_store

Run = dict[str, float]


def measure(published: dict[str, Any], rows: pd.DataFrame, target: str) -> Iterator[Run]:
    """Train each run by the protocol and yield its metrics on the test rows.

    The protocol scales every column over all rows to mean 0 and length 1, so the test rows have shaped
    what the models are trained on. That is what was published; the pipeline does not do it.
    """
    features = rows.drop(columns=target)
    for name, formula in published.get("restored", {}).items():
        features[name] = rows.eval(formula, engine="python")
    centred = features - features.mean()
    scaled = centred / np.sqrt((centred**2).sum())
    train, test, actual, held = train_test_split(
        scaled, rows[target], random_state=published["split_seed"]
    )
    module, _, name = published["estimator"].rpartition(".")
    estimator = getattr(importlib.import_module(module), name)
    for run in published["runs"]:
        model = estimator(**published["options"], **settings(published, run)).fit(train, actual)
        found = errors(held.to_numpy(), model.predict(test))
        yield {metric: float(found[metric]) for metric in published["decimals"]}


def settings(published: dict[str, Any], run: Run) -> Run:
    """The settings of a run: what is no metric."""
    return {name: value for name, value in run.items() if name not in published["decimals"]}


def log(project: Project, published: dict[str, Any], measured: list[Run]) -> None:
    """Log the runs to MLflow, those left out that are there already."""
    with open_store(project) as client:
        place = experiment(project, client, published["experiment"], published["title"])
        there = {run.info.run_name for run in client.search_runs([place]) if run.data.metrics}
        for printed, found in zip(published["runs"], measured, strict=True):
            name = label(published, printed)
            if name not in there:
                with mlflow.start_run(experiment_id=place, run_name=name):
                    mlflow.log_params(settings(published, printed))
                    mlflow.log_metrics(found)


def label(published: dict[str, Any], run: Run) -> str:
    """A run by its settings."""
    return ", ".join(f"{key} {value:g}" for key, value in settings(published, run).items())


def main() -> int:
    """Print every metric beside the published one and how many agree; 1 when not all do."""
    project = Project.here()
    published = config.read(project.published_runs, SettingsError)
    contract = load(project.contract)
    about = yaml.safe_load(project.contract.read_text()) | {"source": published["source"]}
    rows = decode(ingest(parse(yaml.safe_dump(about)), project.root), contract.columns)
    measured = list(measure(published, rows, contract.target.name))
    lines, agree = [], 0
    for printed, found in zip(published["runs"], measured, strict=True):
        cells = [label(published, printed)]
        for metric, digits in published["decimals"].items():
            cells += (f"{value[metric]:.{digits}f}" for value in (printed, found))
            agree += cells[-2] == cells[-1]
        lines.append(cells)
    log(project, published, measured)
    head = [word for metric in published["decimals"] for word in (metric, "here")]
    show(table(["run", *head], lines))
    total = len(lines) * len(published["decimals"])
    print(f"\n{agree} of {total} figures agree")
    return int(agree < total)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MlrefError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
