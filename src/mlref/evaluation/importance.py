"""What each feature is worth: how much worse the model predicts without it."""

from typing import Any

import numpy as np

from mlref.core.contract import Contract
from mlref.core.rows import Array
from mlref.core.settings import Evaluate
from mlref.core.task import task_of
from mlref.data.folds import Folds
from mlref.evaluation.compare import score_difference
from mlref.evaluation.metrics import Interval
from mlref.training import out_of_fold
from mlref.training.candidates import build


def leave_one_out(
    contract: Contract,
    tuning: dict[str, Any],
    features: Array,
    target: Array,
    folds: Folds,
    settings: Evaluate,
) -> dict[str, Interval]:
    """Fit the chosen model without each feature in turn, and compare it out of fold with the whole one.

    A feature that others stand in for is worth little here, whatever its coefficient: the question is
    what would be lost if it were no longer collected. The settings stay as they were tuned.

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
    dict
        By feature, the score without it minus the score with it, on the same folds, with a paired
        bootstrap interval. Empty for a contract of one feature.
    """
    left_out = folds.of_row >= 0
    task, found = task_of(contract), dict[str, Interval]()

    def _out_of_fold(contract: Contract, features: Array) -> Array:
        model = build(contract, tuning["model"], tuning["parameters"], settings.seed)
        return out_of_fold.predict(model, features, target, folds.pairs())[left_out]

    whole = _out_of_fold(contract, features)
    for place, column in enumerate(contract.features if len(contract.features) > 1 else ()):
        rest = tuple(other for other in contract.features if other is not column)
        smaller = contract.model_copy(update={"features": rest})
        without = _out_of_fold(smaller, np.delete(features, place, axis=1))
        found[column.name] = score_difference(target[left_out], without, whole, settings, task)
    return found
