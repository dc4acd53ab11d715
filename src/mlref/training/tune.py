"""Stage 4: judge the ladder of candidates by repeated cross-validation on the training split."""

import statistics
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, ParameterGrid

from mlref import settings
from mlref.contract import Contract, load
from mlref.data.tables import encode, read_parquet, write_csv
from mlref.errors import SettingsError
from mlref.rows import Array
from mlref.storage import Project, rounded, write_json
from mlref.training.candidates import BASELINES, build

Track = Callable[[list[Any]], Iterable[Any]]
"""Wraps the list of trials to show progress; the identity where nobody looks."""


def cross_validate(
    contract: Contract, name: str, parameters: dict[str, Any], knobs: settings.Tune,
    features: Array, target: Array,
) -> tuple[list[float], Array]:  # fmt: skip
    """Fit on the other folds and predict each fold, ``repeats`` times with other shuffles.

    Returns
    -------
    errors : list of float
        RMSE of each fold in target units, folds × repeats of them.
    predictions : ndarray of float64, shape (n,)
        Out-of-fold prediction of each row, averaged over the repeats.
    """
    errors, predictions = [], np.zeros(len(target))
    for repeat in range(knobs.repeats):
        folds = KFold(knobs.folds, shuffle=True, random_state=knobs.seed + repeat)
        for train, test in folds.split(features):
            model = build(contract, name, parameters, knobs.seed).fit(
                features[train], target[train]
            )
            predicted = model.predict(features[test])
            predictions[test] += predicted / knobs.repeats
            errors.append(float(np.sqrt(np.mean((target[test] - predicted) ** 2))))
    return errors, predictions


def trials(knobs: settings.Tune) -> list[tuple[str, dict[str, Any]]]:
    """All settings to try: the grid of each candidate, in the order of params.yaml."""
    return [
        (name, parameters)
        for name, space in knobs.candidates.items()
        for parameters in ParameterGrid(space)
    ]


def choose(results: list[dict[str, Any]], folds: int) -> dict[str, Any]:
    """Choose by the one-standard-error rule (Hastie, Tibshirani and Friedman 2009, section 7.10).

    The best setting of each candidate stands for it; the simplest candidate whose RMSE is within one
    standard error of the best wins. The standard error divides by the root of the folds alone:
    repeats reuse the same rows and add no evidence.
    """
    best: dict[str, dict[str, Any]] = {}
    for result in results:
        if result["rmse"] < best.get(result["model"], {"rmse": np.inf})["rmse"]:
            best[result["model"]] = result
    lowest = min(best.values(), key=lambda result: result["rmse"])
    limit = lowest["rmse"] + lowest["rmse_std"] / folds**0.5
    chosen = next(result for result in best.values() if result["rmse"] <= limit)
    return {"chosen": chosen, "best": best, "lowest": lowest["model"], "limit": limit}


def run(project: Project, track: Track = iter) -> str:
    """Tune on the training split of this clone."""
    contract, knobs = load(project.contract), settings.load(project.params).tune
    if tuple(knobs.candidates)[: len(BASELINES)] != BASELINES:
        allowed = f"begins with {' and '.join(BASELINES)}, which the gate compares with"
        raise SettingsError("config/params.yaml", [f"tune.candidates: {allowed}"])
    features, target = encode(contract, read_parquet(project.train))
    results: list[dict[str, Any]] = []
    out_of_fold: list[Array] = []
    for number, (name, parameters) in enumerate(track(trials(knobs))):
        try:
            errors, predictions = cross_validate(
                contract, name, parameters, knobs, features, target
            )
        except ValueError as error:  # scikit-learn's word for a value that it does not take
            raise SettingsError(
                "config/params.yaml", [f"tune.candidates.{name}: {parameters}: {error}"]
            ) from error
        results.append({
            "trial": number, "model": name, "parameters": parameters,
            "rmse": statistics.fmean(errors), "rmse_std": statistics.pstdev(errors),
        })  # fmt: skip
        out_of_fold.append(predictions)
    choice = choose(results, knobs.folds)
    table = {"actual": target}
    table |= {name: out_of_fold[result["trial"]] for name, result in choice["best"].items()}
    write_csv(project.out_of_fold, pd.DataFrame(rounded({k: v.tolist() for k, v in table.items()})))
    ladder = [result | {"rmse": rounded(result["rmse"])} for result in choice["best"].values()]
    write_csv(project.candidates, pd.DataFrame(ladder)[["model", "rmse"]])
    chosen = choice["chosen"]
    write_json(project.tuning, {
        "model": chosen["model"], "parameters": chosen["parameters"], "trials": results,
        "rule": "the simplest candidate within one standard error of the best",
        "lowest": choice["lowest"], "limit": choice["limit"],
        "best": {name: result["trial"] for name, result in choice["best"].items()},
    })  # fmt: skip
    setting = ", ".join(f"{key}={value}" for key, value in chosen["parameters"].items())
    return f"{len(results)} trials; {chosen['model']}({setting}) wins at RMSE {chosen['rmse']:.1f}"
