"""Stage 7: evaluate the bundle on the held-out test set, which no earlier stage has read."""

import math
from typing import Any

import numpy as np
import pandas as pd

from mlref.bundle.predictor import Predictor, load
from mlref.core.contract import Contract
from mlref.core.contract import load as load_contract
from mlref.core.digits import interval
from mlref.core.digits import places as places_of
from mlref.core.digits import show_number
from mlref.core.errors import DataError
from mlref.core.rows import Array
from mlref.core.settings import Bootstrap, Evaluate
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, digest, read_json, rounded, write_json
from mlref.core.task import Prediction, task_of
from mlref.data.folds import deal, sample, units
from mlref.data.tables import encode, fingerprint, read_csv, read_stage, row_ids, write_csv
from mlref.evaluation.behaviour import check
from mlref.evaluation.compare import score_difference
from mlref.evaluation.draw import draw
from mlref.evaluation.fairness import fairness
from mlref.evaluation.importance import leave_one_out
from mlref.evaluation.metrics import (
    SUMMARY,
    Interval,
    bootstrap,
    measured,
    score_interval,
    share,
    winkler,
)
from mlref.evaluation.slices import groups
from mlref.training.candidates import BASELINES, build

WORST = 10
"""Rows listed with the largest errors."""


def evaluate(
    predictor: Predictor, baselines: dict[str, Array], features: Array, target: Array,
    settings: Evaluate,
) -> dict[str, Any]:  # fmt: skip
    """Measure a model.

    Parameters
    ----------
    baselines : dict of ndarray, each of shape (n,)
        Predictions of simpler models for the same rows.
    features : ndarray of float64, shape (n, features)
    target : ndarray of float64, shape (n,)
        Actual values, target units.

    Returns
    -------
    dict
        What metrics.json says of the test set; every metric as value, lower and upper.

    Raises
    ------
    DataError
        When there are fewer rows than a slice would need.
    """
    if len(target) < settings.smallest_slice:
        problem = f"{len(target)} rows are too few to evaluate on"
        need = f"At least {settings.smallest_slice} are needed (evaluate.smallest_slice)."
        raise DataError("data/split/holdout.parquet", problem, need)
    predicted = predictor.predict(features)
    task = task_of(predictor.contract)
    held = predicted.holds(target)

    def _metrics(rows: Any) -> dict[str, Any]:
        found = measured(target[rows], predicted.value[rows], settings, task)
        return {
            "rows": len(target[rows]),
            "coverage": share(held[rows], settings.confidence),
        } | found

    contract, whole = predictor.contract, _metrics(slice(None))
    whole["coverage"]["promised"] = predictor.intervals["coverage"]
    whole |= reliability(predictor, predicted, target, settings)
    sensitive = {column.name for column in contract.features if column.sensitive}
    parts: dict[str, dict[str, Any]] = {}
    for declared in contract.slices:
        about = {"column": declared.column, "sensitive": declared.column in sensitive}
        for name, rows in groups(contract, declared, features):
            count = int(np.count_nonzero(rows))
            large = count >= settings.smallest_slice
            parts[name] = about | {"judged": large, "rows": count}
            parts[name] |= _metrics(rows) if large else {}
    return whole | {
        "digest": predictor.digest,
        "holdout": fingerprint(features, target),
        "slices": parts,
        "fairness": fairness(contract, features, target, predicted, settings),
        "baselines": {
            name: measured(target, values, settings, task) for name, values in baselines.items()
        },
        "promises": check(contract, predictor.values, features),
    }


def reliability(
    predictor: Predictor, predicted: Prediction, target: Array, settings: Bootstrap
) -> dict[str, Any]:
    """Measure the intervals beyond their coverage: in each part, at other coverages, and their score.

    Returns
    -------
    dict
        ``thirds``, by part of the predictions: ``rows``, mean ``width`` (target units) and the share
        inside; ``reliability``, by promised coverage: the share inside; ``winkler``: the mean score.
    """
    task, known = task_of(predictor.contract), predictor.intervals
    held, width = predicted.holds(target), predicted.upper - predicted.lower
    parts = {
        name: share(held[rows], settings.confidence)
        | {"rows": int(np.count_nonzero(rows)), "width": float(width[rows].mean())}
        for name, rows in task.parts(predicted.value, known)
        if rows.any()
    }
    others = {
        level: task.answer(predicted.value, known | changed).holds(target)
        for level, changed in known["levels"].items()
    }
    levels = {level: share(inside, settings.confidence) for level, inside in others.items()}

    def _mean(scores: Array) -> dict[str, Array]:
        return {"winkler": scores.mean(axis=-1)}

    scores = bootstrap(_mean, (winkler(target, predicted, known["coverage"]),), settings)
    return {"thirds": parts, "reliability": levels} | scores


def against_cross_validation(
    contract: Contract, out_of_fold: pd.DataFrame, model: str, score: Interval, settings: Bootstrap
) -> dict[str, float]:
    """Compare the score on the test set with that of the out-of-fold training rows.

    Returns
    -------
    dict
        The score out of fold as ``value``, ``lower`` and ``upper``; ``rows``; ``difference`` of the test
        set from it; and ``by_chance``, how far apart chance alone puts two such sets of rows.
    """
    task = task_of(contract)
    losses = task.loss(out_of_fold["actual"].to_numpy(), out_of_fold[model].to_numpy())
    found = score_interval(losses, settings, task.score)
    halves = [(end["upper"] - end["lower"]) / 2 for end in (found, score)]
    return found | {
        "rows": len(losses), "difference": score["value"] - found["value"],
        "by_chance": math.hypot(*halves),
    }  # fmt: skip


def compare_simpler(
    contract: Contract, out_of_fold: pd.DataFrame, model: str, settings: Bootstrap
) -> dict[str, Interval]:
    """Compare the model with every simpler candidate on the out-of-fold training rows.

    A test set of a fifth of 442 rows cannot tell ridge from one feature in a third of the splits; the
    training rows can.
    """
    task, simpler = task_of(contract), out_of_fold.columns[1 : out_of_fold.columns.get_loc(model)]
    actual, predicted = (out_of_fold[name].to_numpy() for name in ("actual", model))
    return {
        str(name): score_difference(actual, predicted, out_of_fold[name].to_numpy(), settings, task)
        for name in simpler
    }


def check_disjoint(contract: Contract, train: pd.DataFrame, holdout: pd.DataFrame) -> None:
    """Refuse a test set with rows, or groups or moments, that the model was trained on.

    Raises
    ------
    DataError
        Names the first such row.
    """
    seen, divided = set(row_ids(contract, train)), set(units(contract, train))
    tested = zip(row_ids(contract, holdout), units(contract, holdout), strict=True)
    for row, (name, unit) in enumerate(tested):
        if name in seen or unit in divided:
            what = f"row {row}" if name in seen else f"the {contract.split.column!r} of row {row}"
            problem = f"{what} is also in train.parquet; a model must not be tested on it"
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


def summarise(metrics: dict[str, Any], primary: str) -> dict[str, float]:
    """The few metrics that fit one line of a table: for `dvc metrics` and the list of runs."""
    found = {name: metrics[name]["value"] for name in SUMMARY}
    found |= {f"{primary}_{end}": metrics[primary][end] for end in ("lower", "upper")}
    return found | {
        f"{primary}_of_{name}": of[primary]["value"] for name, of in metrics["baselines"].items()
    }


def worst(predictions: pd.DataFrame) -> Any:
    """The rows with the largest errors, largest first.

    Their features are left out: a report is committed, and people's records are not.
    """
    error = (predictions["value"] - predictions["actual"]).abs()
    order = error.sort_values(ascending=False, kind="stable").index[:WORST]
    return predictions.loc[order].to_dict("records")


def measure(project: Project) -> tuple[dict[str, Any], pd.DataFrame]:
    """Measure the bundle of this clone: the metrics, and the predictions for the test set."""
    contract, settings = load_contract(project.contract), load_settings(project.params).evaluate
    train, holdout = (
        read_stage(contract, path, "split") for path in (project.train, project.holdout)
    )
    check_disjoint(contract, train, holdout)
    predictor, tuning = load(project.bundle, digest(project.contract)), read_json(project.tuning)
    features, target = encode(contract, holdout)
    baselines = baseline_predictions(contract, train, features)
    metrics = evaluate(predictor, baselines, features, target, settings)
    rows = {"row": row_ids(contract, holdout), "actual": target}
    predictions = pd.DataFrame(rows | predictor.predict(features).fields())
    out_of_fold = read_csv(project.out_of_fold).astype(np.float64)
    about = contract, out_of_fold, tuning["model"]
    primary = metrics[task_of(contract).primary]
    metrics["cross_validated"] = against_cross_validation(*about, primary, settings)
    metrics["cross_validated"]["training_rows"] = len(train)
    metrics["ladder"] = compare_simpler(*about, settings)
    some = sample(train, settings.rows, settings.seed)
    folds = deal(contract, some, settings.folds, settings.seed)
    metrics["features"] = leave_one_out(contract, tuning, *encode(contract, some), folds, settings)
    metrics["worst"] = worst(predictions)
    return metrics, predictions


def write(project: Project, metrics: dict[str, Any], predictions: pd.DataFrame) -> str:
    """Write the metrics and the predictions; returns the primary score in words."""
    contract = load_contract(project.contract)
    primary = task_of(contract).primary
    write_json(project.metrics, metrics)
    write_json(project.summary, summarise(metrics, primary))
    write_csv(project.predictions, pd.DataFrame(rounded(predictions.to_dict("list"))))
    other, places = metrics["cross_validated"], places_of(metrics[primary]["value"], 3)
    validated, chance = (show_number(other[name], places) for name in ("value", "by_chance"))
    difference = show_number(other["difference"], places, "+")
    of, fewer = other["training_rows"], ""
    if other["rows"] < of:
        fewer = f"; candidates were compared on {other['rows']} of {of} rows, and more teach more"
    return (
        f"{primary.upper()} {interval(metrics[primary])} on the {metrics['rows']} rows of the test set\n"
        f"  Out of fold it is {validated}: a difference of {difference}, where chance allows ± {chance}"
        f"{fewer}."
    )


def run(project: Project) -> str:
    """Evaluate the bundle of this clone, and draw the pictures."""
    said = write(project, *measure(project))
    draw(project)
    return said
