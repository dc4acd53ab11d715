"""Nested cross-validation: score the settings of a candidate, and the choice among them.

In each round the rows are dealt into K folds. A setting is scored on fold k by models that have not seen
it. The setting that predicts fold k is chosen without fold k: by models that have seen neither k nor j,
scored on j, for each other fold j. So a candidate's score is out of fold in every respect. A pair of
folds serves both ways: nesting takes K · (K − 1) / 2 fits more a round, a quarter of what
scikit-learn's GridSearchCV inside cross_val_predict takes, for the same choice.
"""

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.model_selection import KFold

from mlref.core.contract import Contract
from mlref.core.rows import Array
from mlref.core.settings import Tune
from mlref.core.task import task_of
from mlref.training.candidates import build, estimator

Folds = npt.NDArray[np.int64]
"""Fold of each row in each round, shape (repeats, n)."""


class Part(NamedTuple):
    """Fits of all settings of a candidate to the same rows, which share one preprocessing."""

    model: str
    tried: list[dict[str, Any]]
    repeat: int
    held: tuple[int, ...]
    """The one or two folds that the models do not see."""


Found = tuple[Array, Array]
"""Scores, shape (settings, folds held out), and predictions, shape (settings, rows held out)."""


class Scores(NamedTuple):
    """What is known about the settings of one candidate."""

    errors: Array
    """Score on fold k of the models that saw neither k nor j, shape (settings, repeats, K, K)."""
    predictions: Array
    """Shape (settings, repeats, n): out of fold, target units."""


class Nested(NamedTuple):
    """What is known about a candidate that chooses its setting by itself."""

    errors: Array
    """Score on each fold, with the setting chosen without it, shape (repeats, K)."""
    predictions: Array
    """Shape (n,): out of fold, averaged over the repeats."""
    chosen: Folds
    """Index of the setting that was chosen, shape (repeats, K)."""


def deal(settings: Tune, rows: int) -> Folds:
    """Deal the rows into folds, once for each round."""
    folds = np.empty((settings.repeats, rows), np.int64)
    for repeat, dealt in enumerate(folds):
        splitter = KFold(settings.folds, shuffle=True, random_state=settings.seed + repeat)
        for fold, (_, held) in enumerate(splitter.split(dealt)):
            dealt[held] = fold
    return folds


def parts(model: str, tried: list[dict[str, Any]], settings: Tune, choice: bool) -> list[Part]:
    """All fits of some settings; without a ``choice`` to nest, one fold at a time is enough."""
    return [
        Part(model, tried, repeat, held)
        for repeat in range(settings.repeats)
        for size in ((1, 2) if choice else (1,))
        for held in itertools.combinations(range(settings.folds), size)
    ]


def fit(
    part: Part, contract: Contract, seed: int, features: Array, target: Array, folds: Folds
) -> Found:
    """Fit each setting to the rows outside of the folds held out, and score it on these.

    Raises
    ------
    ValueError
        scikit-learn's word for a value that it does not take, with the setting that has it.
    """
    fold, task = folds[part.repeat], task_of(contract)
    held = np.isin(fold, part.held)
    known, actual = target[~held], target[held]
    errors, predictions = [], []
    prepare = build(contract, part.model, part.tried[0], seed)["prepare"]
    seen, unseen = prepare.fit_transform(features[~held], known), prepare.transform(features[held])
    # The first round has validated each setting, and the contract the rows.
    with sklearn.config_context(skip_parameter_validation=part.repeat > 0, assume_finite=True):
        for setting in part.tried:
            try:
                predicted = estimator(part.model, setting, seed).fit(seen, known).predict(unseen)
            except ValueError as error:
                raise ValueError(f"{part.model}: {setting}: {error}") from error
            losses = task.loss(actual, predicted)
            errors.append([task.score(losses[fold[held] == k].mean()) for k in part.held])
            predictions.append(predicted)
    return np.array(errors), np.array(predictions)


def gather(found: Iterable[tuple[Part, Found]], count: int, folds: Folds) -> Scores:
    """Put the results of all parts into one place; without pairs of folds their errors are zero."""
    repeats, rows, size = *folds.shape, int(folds.max()) + 1
    scores = Scores(np.zeros((count, repeats, size, size)), np.empty((count, repeats, rows)))
    for part, (errors, predictions) in found:
        one, other = part.held[0], part.held[-1]
        scores.errors[:, part.repeat, one, other] = errors[:, 0]
        scores.errors[:, part.repeat, other, one] = errors[:, -1]
        if one == other:
            scores.predictions[:, part.repeat, folds[part.repeat] == one] = predictions
    return scores


def plain(scores: Scores) -> Array:
    """Score of each setting on each fold, shape (settings, repeats, folds): not nested."""
    return np.diagonal(scores.errors, axis1=2, axis2=3)


def nest(scores: Scores, folds: Folds) -> Nested:
    """Predict each fold with the setting that does best on the other folds without it; ties: the first."""
    outer = plain(scores)
    # errors[:, r, j, k] scores fold j without k: the sum over j less the fold itself chooses for k.
    chosen = (scores.errors.sum(axis=2) - outer).argmin(axis=0)
    errors = np.take_along_axis(outer, chosen[None], axis=0)[0]
    of_rows = np.take_along_axis(chosen, folds, axis=1)[None]
    predictions = np.take_along_axis(scores.predictions, of_rows, axis=0)[0].mean(axis=0)
    return Nested(errors, predictions, chosen)
