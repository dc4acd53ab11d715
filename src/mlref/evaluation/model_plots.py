"""Pictures of the chosen model: what it uses, and what more rows or another penalty would bring."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.base import clone
from sklearn.inspection import PartialDependenceDisplay
from sklearn.metrics import make_scorer
from sklearn.model_selection import ValidationCurveDisplay
from sklearn.pipeline import Pipeline

from mlref.core.contract import Contract
from mlref.core.digits import interval
from mlref.core.rows import Array
from mlref.core.settings import Evaluate
from mlref.core.task import task_of
from mlref.data.folds import Folds
from mlref.evaluation.behaviour import grid
from mlref.evaluation.compare import score_difference
from mlref.evaluation.metrics import Interval, score_interval
from mlref.evaluation.plots import BLUE, GREY, intervals, label, panels
from mlref.features import MANY

STRONGEST = 12
"""Features whose effect is drawn, the most needed first."""

FOLDS = ("rows fitted on", "rows of the fold left out")

SHARES = np.linspace(0.2, 1.0, 6)
"""Parts of a fold's training rows for which the learning curve has a point."""

PENALTIES = np.logspace(-2, 3, 11)
"""Multiples of the chosen penalty for which the curve has a point; one is among them."""


def features(found: dict[str, Interval], contract: Contract) -> Figure:
    """By how much the error grows without each feature, the most needed first."""
    missed = sum(interval["lower"] > 0 for interval in found.values())
    title = f"Features that would be missed with confidence: {missed} of {len(found)}"
    figure, (at,) = panels(title, 1, 6.0, 1.4 + 0.3 * len(found))
    intervals(at, {name: found[name] for name in _most_needed(found)}, 0.0)
    log = contract.target.transform == "log"  # the logarithm has no unit
    unit = "" if log else f": {label(contract.target)}"
    at.set(xlabel=f"{task_of(contract).title} without it − with it, out of fold{unit}")
    return figure


def effects(
    contract: Contract, model: Pipeline, rows: Array, found: dict[str, Interval]
) -> Figure | None:
    """Mean prediction while one feature takes its usual values (Friedman 2001); ticks are deciles.

    Categories of many values, which no axis could name, are left out; None where no feature is left, or
    where the model predicts one value for all rows.

    Parameters
    ----------
    model : Pipeline
        Fitted.
    rows : ndarray of float64, shape (n, features)
        Encoded rows, whose other columns stay as they are.
    found : dict
        What each feature is worth: see :func:`mlref.evaluation.importance.leave_one_out`.
    """
    names = _most_needed(found) or contract.names
    places = [contract.names.index(name) for name in names]
    places = [n for n in places if len(contract.features[n].allowed or ()) <= MANY][:STRONGEST]
    if not places or np.ptp(model.predict(rows)) == 0:
        return None
    columns, across = [contract.features[place] for place in places], min(len(places), 4)
    figure, plots = panels(
        "Effect of each feature on the mean prediction", len(places),
        2.4 * across + 0.6, 0.8 + 2.1 * -(-len(places) // across), across, sharey=True,
    )  # fmt: skip
    PartialDependenceDisplay.from_estimator(
        model, rows, places, ax=plots, line_kw={"color": BLUE},
        feature_names=[label(column) for column in contract.features],
        categorical_features=[n for n, one in enumerate(contract.features) if one.allowed] or None,
        custom_values={n: grid(column) for n, column in zip(places, columns, strict=True)},
    )  # fmt: skip
    for at, column in zip(plots, columns, strict=True):
        at.set_ylabel("")
        if column.allowed is not None:
            at.set_xticks(range(len(column.allowed)), column.allowed, rotation=0)
    figure.supylabel(f"mean prediction: {label(contract.target)}", fontsize=9)
    return figure


def learning_curve(
    contract: Contract,
    model: Pipeline,
    rows: Array,
    target: Array,
    folds: Folds,
    settings: Evaluate,
) -> Figure:
    """Score out of fold by the number of rows fitted on, with its interval.

    All points are of the same rows, so their intervals overlap also where the text, which compares the
    last two in pairs, can tell them apart.
    """
    task, left_out = task_of(contract), folds.of_row >= 0
    predicted = np.full((len(SHARES), len(target)), np.nan)
    sizes, losses = np.zeros((2, len(SHARES)))
    for place, share in enumerate(SHARES):
        for seen, unseen in folds.pairs(share, settings.seed):
            fitted = clone(model).fit(rows[seen], target[seen])
            predicted[place, unseen] = fitted.predict(rows[unseen])
            losses[place] += task.loss(target[seen], fitted.predict(rows[seen])).sum()
            sizes[place] += len(seen)
    target, predicted = target[left_out], predicted[:, left_out]
    found = [score_interval(task.loss(target, one), settings, task.score) for one in predicted]
    value, lower, upper = ([one[end] for one in found] for end in ("value", "lower", "upper"))
    brought = score_difference(target, predicted[-1], predicted[-2], settings, task)
    losses /= sizes
    sizes /= folds.of_row.max() + 1
    last = f"the last {sizes[-1] - sizes[-2]:.0f} change the error by {interval(brought)}"
    figure, (at,) = panels("Learning curve: what more rows would bring", 1, 6.0, 5.0)
    at.plot(sizes, task.score(losses), "o-", color=GREY)
    at.errorbar(sizes, value, np.abs(np.array([lower, upper]) - value), fmt="o-", capsize=3)
    at.set(xlabel=f"rows fitted on; {last}", ylabel=_scored(contract)["score_name"])
    at.legend(FOLDS)
    return figure


def validation_curve(
    contract: Contract, model: Pipeline, rows: Array, target: Array, folds: Folds
) -> Figure | None:
    """Cross-validated score while the penalty grows; the chosen one is marked.

    None for a model that has no penalty ``alpha``, or that learns the logarithm.
    """
    steps = [*model.steps[:-1], *getattr(model[-1], "steps", model.steps[-1:])]  # a nested one too
    name, line = steps[-1]
    if not hasattr(line, "coef_") or not hasattr(line, "alpha"):
        return None
    figure, (at,) = panels("Validation curve: what another penalty would bring", 1, 6.0, 5.0)
    ValidationCurveDisplay.from_estimator(
        Pipeline(steps), rows, target, ax=at, param_name=f"{name}__alpha",
        param_range=line.alpha * PENALTIES, std_display_style="errorbar",
        cv=[*folds.pairs()], **_scored(contract),
    )  # fmt: skip
    at.legend(FOLDS)  # before the line, which would be named as one of them
    at.axvline(line.alpha, color=GREY, linestyle="--", linewidth=1)
    at.set(xlabel="penalty alpha; dashed: chosen")
    return figure


def _most_needed(found: dict[str, Interval]) -> list[str]:
    return sorted(found, key=lambda name: found[name]["value"], reverse=True)


def _scored(contract: Contract) -> dict[str, Any]:
    """The task's score, as arguments of scikit-learn's display."""
    task = task_of(contract)

    def _score(actual: Array, predicted: Array) -> float:
        return float(task.score(task.loss(actual, predicted).mean()))

    return {
        "scoring": make_scorer(_score, greater_is_better=False),
        "negate_score": True,
        "score_name": f"{task.primary.upper()}: {label(contract.target)}",
    }
