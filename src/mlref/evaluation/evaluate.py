"""Stage 7: judge the bundle on the held-out rows, which no earlier stage has used to choose."""

from typing import Any

import numpy as np
import pandas as pd

from mlref import settings
from mlref.bundle.predictor import Predictor, load
from mlref.contract import Contract
from mlref.contract import load as load_contract
from mlref.data.tables import encode, read_csv, read_parquet, write_csv
from mlref.errors import DataError
from mlref.evaluation.compare import rmse_difference
from mlref.evaluation.metrics import Interval, bootstrap, coverage, errors
from mlref.evaluation.promises import check
from mlref.evaluation.slices import slices
from mlref.rows import Array
from mlref.storage import Project, digest, read_json, rounded, write_json
from mlref.training.candidates import BASELINES, build

SMALLEST_SLICE = 10
"""A slice of fewer rows is counted, not judged: its interval would say nothing."""


def evaluate(
    predictor: Predictor, baselines: dict[str, Array], features: Array, target: Array,
    knobs: settings.Bootstrap,
) -> dict[str, Any]:  # fmt: skip
    """Measure a model.

    Parameters
    ----------
    predictor : Predictor
    baselines : dict of ndarray, each of shape (n,)
        Predictions of simpler models for the same rows.
    features : ndarray of float64, shape (n, features)
    target : ndarray of float64, shape (n,)
        Actual values, target units.

    Returns
    -------
    dict
        The content of metrics.json but for the ladder; every figure as value, lower and upper.
    """
    predicted = predictor.predict(features)

    def _judged(rows: Any) -> dict[str, Any]:
        count = int(np.count_nonzero(rows))
        if count < SMALLEST_SLICE:
            return {"rows": count}
        held = (target[rows], predicted.lower[rows], predicted.upper[rows])
        figures = bootstrap(errors, (target[rows], predicted.value[rows]), knobs)
        return {"rows": count} | figures | bootstrap(coverage, held, knobs)

    whole = _judged(np.ones(len(target), dtype=np.bool_))
    if "rmse" not in whole:
        raise DataError(
            "data/split/holdout.parquet", f"{len(target)} rows are too few to evaluate on"
        )
    whole["coverage"]["promised"] = predictor.intervals["coverage"]
    return whole | {
        "slices": {name: _judged(rows) for name, rows in slices(predictor.contract, features)},
        "baselines": {name: bootstrap(errors, (target, p), knobs) for name, p in baselines.items()},
        "promises": check(predictor.contract, predictor.values, features),
    }


def ladder(out_of_fold: pd.DataFrame, model: str, knobs: settings.Bootstrap) -> dict[str, Interval]:
    """Compare the model with every simpler candidate on the out-of-fold training rows.

    A held-out fifth of 442 rows cannot tell ridge from one feature in a third of the splits; the
    training rows can.
    """
    simpler = list(out_of_fold.columns[1 : out_of_fold.columns.get_loc(model)])
    actual, predicted = (out_of_fold[name].to_numpy(np.float64) for name in ("actual", model))
    return {
        name: rmse_difference(actual, predicted, out_of_fold[name].to_numpy(np.float64), knobs)
        for name in simpler
    }


def check_disjoint(contract: Contract, train: pd.DataFrame, holdout: pd.DataFrame) -> None:
    """Refuse held-out rows that the model was trained on.

    Raises
    ------
    DataError
        Names the first such row.
    """
    identity = list(contract.identity or contract.names)
    known, held_out = (
        frame[identity].astype(object).where(frame[identity].notna(), None)
        for frame in (train, holdout)  # a null is equal to a null, which NaN is not to NaN
    )
    seen = set(known.itertuples(index=False, name=None))
    for row, key in enumerate(held_out.itertuples(index=False, name=None)):
        if key in seen:
            problem = f"row {row} is also in train.parquet; a model must not be judged on it"
            raise DataError("data/split/holdout.parquet", problem, "Run `dvc repro --force split`.")


def baseline_predictions(
    contract: Contract, train: pd.DataFrame, features: Array
) -> dict[str, Array]:
    """Fit each baseline on the training rows and predict ``features``."""
    known, target = encode(contract, train)
    return {
        name: build(contract, name, {}, 0).fit(known, target).predict(features)
        for name in BASELINES
    }


def summarise(metrics: dict[str, Any]) -> dict[str, float]:
    """The few figures that fit one line of a table: for `dvc metrics` and the list of runs."""
    names = ("rmse", "mae", "r2", "median_error", "bias", "coverage")
    figures = {name: metrics[name]["value"] for name in names}
    figures |= {f"rmse_{end}": metrics["rmse"][end] for end in ("lower", "upper")}
    return figures | {
        f"rmse_of_{name}": found["rmse"]["value"] for name, found in metrics["baselines"].items()
    }


def run(project: Project) -> str:
    """Evaluate the bundle of this clone."""
    contract, knobs = load_contract(project.contract), settings.load(project.params).evaluate
    train, holdout = read_parquet(project.train), read_parquet(project.holdout)
    check_disjoint(contract, train, holdout)
    predictor = load(project.bundle, digest(project.contract))
    features, target = encode(contract, holdout)
    baselines = baseline_predictions(contract, train, features)
    metrics = evaluate(predictor, baselines, features, target, knobs)
    model = read_json(project.tuning)["model"]
    out_of_fold = read_csv(project.out_of_fold).astype(np.float64)
    metrics["ladder"] = ladder(out_of_fold, model, knobs)
    write_json(project.metrics, metrics)
    write_json(project.summary, summarise(metrics))
    columns = {"actual": target} | predictor.predict(features)._asdict()
    table = pd.DataFrame({name: rounded(values.tolist()) for name, values in columns.items()})
    write_csv(project.predictions, table)
    rmse = metrics["rmse"]
    found = "RMSE {value:.1f} [{lower:.1f}, {upper:.1f}]".format(**rmse)
    return f"{found} on {len(target)} held-out rows"
