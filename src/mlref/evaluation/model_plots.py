"""Pictures of the chosen model: what it uses, and what more rows or another penalty would bring."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.inspection import PartialDependenceDisplay
from sklearn.metrics import make_scorer
from sklearn.model_selection import KFold, LearningCurveDisplay, ValidationCurveDisplay
from sklearn.pipeline import Pipeline

from mlref.core.contract import Column, Contract
from mlref.core.rows import Array
from mlref.core.settings import Evaluate
from mlref.core.task import task_of
from mlref.evaluation.behaviour import grid
from mlref.evaluation.metrics import Interval
from mlref.evaluation.plots import BLUE, GREY, intervals, label, panels

STRONGEST = 12
"""Features whose effect is drawn, the most needed first."""

FOLDS = ("rows fitted on", "rows of the fold left out")

SHARES = np.linspace(0.2, 1.0, 6)
"""Parts of a fold's training rows for which the learning curve has a point."""

PENALTIES = np.logspace(-2, 3, 11)
"""Multiples of the chosen penalty for which the curve has a point; one is among them."""


def features(found: dict[str, Interval], target: Column) -> Figure:
    """By how much the error grows without each feature, the most needed first."""
    missed = sum(interval["lower"] > 0 for interval in found.values())
    title = f"Features that would be missed with confidence: {missed} of {len(found)}"
    figure, (at,) = panels(title, 1, 6.0, 1.4 + 0.3 * len(found))
    intervals(at, {name: found[name] for name in _most_needed(found)}, 0.0)
    at.set(xlabel=f"RMSE without it − with it, out of fold: {label(target)}")
    return figure


def effects(contract: Contract, model: Pipeline, rows: Array, found: dict[str, Interval]) -> Figure:
    """Mean prediction while one feature takes its usual values (Friedman 2001); ticks are deciles.

    Parameters
    ----------
    model : Pipeline
        Fitted.
    rows : ndarray of float64, shape (n, features)
        Encoded rows, whose other columns stay as they are.
    found : dict
        What each feature is worth: see :func:`mlref.evaluation.importance.leave_one_out`.
    """
    names = (_most_needed(found) or list(contract.names))[:STRONGEST]
    places, across = [contract.names.index(name) for name in names], min(len(names), 4)
    columns = [contract.features[place] for place in places]
    figure, plots = panels(
        "Effect of each feature on the mean prediction", len(names),
        2.4 * across + 0.6, 0.8 + 2.1 * -(-len(names) // across), across, sharey=True,
    )  # fmt: skip
    PartialDependenceDisplay.from_estimator(
        model, rows, places, ax=plots, line_kw={"color": BLUE},
        feature_names=[label(column) for column in contract.features],
        categorical_features=[n for n, column in enumerate(contract.features) if column.allowed],
        custom_values={n: grid(column) for n, column in zip(places, columns, strict=True)},
    )  # fmt: skip
    for at, column in zip(plots, columns, strict=True):
        at.set_ylabel("")
        if column.allowed is not None:
            at.set_xticks(range(len(column.allowed)), column.allowed, rotation=0)
    figure.supylabel(f"mean prediction: {label(contract.target)}", fontsize=9)
    return figure


def learning_curve(
    contract: Contract, model: Pipeline, rows: Array, target: Array, settings: Evaluate
) -> Figure:
    """Cross-validated score by the number of rows fitted on, ± the deviation over the folds."""
    figure, (at,) = panels("Learning curve: what more rows would bring", 1, 6.0, 5.0)
    LearningCurveDisplay.from_estimator(
        model, rows, target, ax=at, train_sizes=SHARES, shuffle=True, random_state=settings.seed,
        std_display_style="errorbar", **_scored(contract, settings),
    )  # fmt: skip
    at.set(xlabel="rows fitted on")
    at.legend(FOLDS)
    return figure


def validation_curve(
    contract: Contract, model: Pipeline, rows: Array, target: Array, settings: Evaluate
) -> Figure | None:
    """Cross-validated score while the penalty grows; the chosen one is marked.

    None for a model that has no penalty ``alpha``.
    """
    steps = [*model.steps[:-1], *getattr(model[-1], "steps", model.steps[-1:])]  # a nested one too
    name, line = steps[-1]
    if not hasattr(line, "coef_") or not hasattr(line, "alpha"):
        return None
    figure, (at,) = panels("Validation curve: what another penalty would bring", 1, 6.0, 5.0)
    ValidationCurveDisplay.from_estimator(
        Pipeline(steps), rows, target, ax=at, param_name=f"{name}__alpha",
        param_range=line.alpha * PENALTIES, std_display_style="errorbar",
        **_scored(contract, settings),
    )  # fmt: skip
    at.legend(FOLDS)  # before the line, which would be named as one of them
    at.axvline(line.alpha, color=GREY, linestyle="--", linewidth=1)
    at.set(xlabel="penalty alpha; dashed: chosen")
    return figure


def _most_needed(found: dict[str, Interval]) -> list[str]:
    return sorted(found, key=lambda name: found[name]["value"], reverse=True)


def _scored(contract: Contract, settings: Evaluate) -> dict[str, Any]:
    """How the curves cross-validate, as arguments of scikit-learn's displays."""
    task = task_of(contract)

    def _score(actual: Array, predicted: Array) -> float:
        return float(task.score(task.loss(actual, predicted).mean()))

    return {
        "cv": KFold(settings.folds, shuffle=True, random_state=settings.seed),
        "scoring": make_scorer(_score, greater_is_better=False),
        "negate_score": True,
        "score_name": f"{task.primary.upper()}: {label(contract.target)}",
    }
