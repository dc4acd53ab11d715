"""The curves behind the pictures: more rows, another penalty, and what each feature does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import make_scorer
from sklearn.model_selection import KFold, learning_curve, validation_curve
from sklearn.pipeline import Pipeline

from mlref.core.contract import Contract
from mlref.core.rows import Array
from mlref.core.settings import Evaluate
from mlref.core.task import task_of
from mlref.evaluation.behaviour import sweep
from mlref.features import MISSING
from mlref.training.candidates import build

SHARES = np.linspace(0.2, 1.0, 6)
"""Parts of a fold's training rows for which the learning curve has a point."""

PENALTIES = np.logspace(-2, 3, 11)
"""Multiples of the chosen penalty for which the path has a point; one is among them."""


def learning(
    contract: Contract, tuning: dict[str, Any], features: Array, target: Array,
    settings: Evaluate,
) -> pd.DataFrame:  # fmt: skip
    """Cross-validate the chosen model on fewer rows than there are, to see what more would bring.

    Parameters
    ----------
    tuning : dict
        The content of tuning.json: which model, with which parameters.
    features : ndarray of float64, shape (n, features)
        Training rows.
    target : ndarray of float64, shape (n,)
        Actual values, target units.

    Returns
    -------
    DataFrame
        ``rows`` that were fitted on; ``fitted`` and ``unseen``, the mean over the folds of the score on
        these rows and on the fold's own; ``deviation`` of the latter over the folds.
    """
    model = build(contract, tuning["model"], tuning["parameters"], settings.seed)
    sizes, fitted, unseen = learning_curve(
        model, features, target, train_sizes=SHARES, cv=_folds(settings),
        scoring=_scoring(contract), shuffle=True, random_state=settings.seed,
    )  # fmt: skip
    return pd.DataFrame({
        "rows": sizes, "fitted": -fitted.mean(axis=1), "unseen": -unseen.mean(axis=1),
        "deviation": unseen.std(axis=1),
    })  # fmt: skip


def path(
    contract: Contract, tuning: dict[str, Any], features: Array, target: Array,
    settings: Evaluate,
) -> pd.DataFrame:  # fmt: skip
    """Fit the chosen model with weaker and stronger penalties; parameters as of :func:`learning`.

    Returns
    -------
    DataFrame
        ``alpha``, the penalty; ``error``, the cross-validated score, with its ``deviation`` over the
        folds; ``term`` and its ``coefficient`` in target units per standard deviation of a number.
        Without rows for a model that has no penalty ``alpha``.
    """
    model = build(contract, tuning["model"], tuning["parameters"], settings.seed)
    steps = [*model.steps[:-1], *getattr(model[-1], "steps", model.steps[-1:])]  # a nested one too
    model = Pipeline(steps).fit(features, target)
    columns = ["alpha", "error", "deviation", "term", "coefficient"]
    if not hasattr(model[-1], "coef_") or not hasattr(model[-1], "alpha"):
        return pd.DataFrame(columns=columns)
    penalty, alphas = f"{steps[-1][0]}__alpha", model[-1].alpha * PENALTIES
    _, scores = validation_curve(
        model, features, target, param_name=penalty, param_range=alphas,
        cv=_folds(settings), scoring=_scoring(contract),
    )  # fmt: skip
    terms = [_label(contract, term) for term in model[0].get_feature_names_out(contract.names)]
    for _, step in steps[1:-1]:
        terms = step.get_feature_names_out(terms)
    lines = []
    for alpha, score in zip(alphas, scores, strict=True):
        coefficients = model.set_params(**{penalty: alpha}).fit(features, target)[-1].coef_
        for term, coefficient in zip(terms, coefficients, strict=True):
            lines.append((alpha, -score.mean(), score.std(), term, coefficient))
    return pd.DataFrame(lines, columns=columns)


def effects(contract: Contract, predict: Callable[[Array], Array], features: Array) -> pd.DataFrame:
    """Average the predictions while one feature takes each of its values (Friedman 2001).

    Parameters
    ----------
    predict : callable
        Encoded rows, shape (m, features), to values, shape (m,), target units.
    features : ndarray of float64, shape (n, features)
        Rows whose other columns stay as they are.

    Returns
    -------
    DataFrame
        ``feature``, its ``value``, the ``share`` of its range that lies below, and the mean
        ``prediction``, target units.
    """
    lines = []
    for place, column in enumerate(contract.features):
        grid, curves = sweep(column, place, predict, features)
        shares = (grid - grid[0]) / np.ptp(grid)
        for code, share, mean in zip(grid.tolist(), shares, curves.mean(axis=0), strict=True):
            value = code if column.allowed is None else str(column.allowed[int(code)])
            lines.append((column.name, value, share, mean))
    return pd.DataFrame(lines, columns=["feature", "value", "share", "prediction"])


def _scoring(contract: Contract) -> Any:
    task = task_of(contract)

    def _score(actual: Array, predicted: Array) -> float:
        return float(task.score(task.loss(actual, predicted).mean()))

    return make_scorer(_score, greater_is_better=False)


def _folds(settings: Evaluate) -> KFold:
    return KFold(settings.folds, shuffle=True, random_state=settings.seed)


def _label(contract: Contract, term: str) -> str:
    """A column of the prepared array as people call it: ``area``, ``heating = gas``."""
    name = term.split("__", 1)[-1]
    for column in contract.features:
        if column.allowed is not None and name.startswith(f"{column.name}_"):
            code = float(name.removeprefix(f"{column.name}_"))
            return f"{column.name} = {'null' if code == MISSING else column.allowed[int(code)]}"
    return name
