"""Nested cross-validation: score the settings of a candidate, and the choice among them.

In each round the rows are dealt into K folds. A setting is scored on fold k by models that have not seen
it. The setting that predicts fold k is chosen without fold k: by models that have seen neither k nor j,
scored on j, for each other fold j. So a candidate's score is out of fold in every respect. A pair of
folds serves both ways: nesting takes K · (K − 1) / 2 fits more a round, half of what scikit-learn's
GridSearchCV inside cross_val_predict takes, for the same choice.

By time, a fold is predicted by models of the rows before it, so no pairs are needed: its setting is the one
that did best on the folds before it. The first fold, which has none before it, is not scored.
"""

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
import sklearn
from numpy.typing import NDArray

from mlref.core.contract import Contract
from mlref.core.rows import Array
from mlref.core.settings import Tune
from mlref.core.task import task_of
from mlref.data.folds import Folds
from mlref.data.folds import deal as deal_once
from mlref.training.candidates import build, estimator
from mlref.training.sampling import Setting

Part = tuple[int, tuple[int, ...]]
"""A round, and the one or two of its folds that the models do not see."""

Found = tuple[Array, Array]
"""Scores, shape (settings, unseen folds), and predictions, shape (settings, unseen rows)."""


class Data(NamedTuple):
    """What every fit of a search is given."""

    contract: Contract
    features: Array
    target: Array
    folds: list[Folds]
    """One for each round."""
    seed: int


class Result(NamedTuple):
    """A candidate that chose its settings by itself, and what it chose from."""

    tried: list[Setting]
    plain: Array
    """Score of each setting on each fold, not nested, shape (settings, repeats, K)."""
    errors: Array
    """Score on each fold, with the setting chosen without it, shape (repeats, K); K − 1 by time."""
    predictions: Array
    """Shape (n,): out of fold, averaged over the repeats; NaN by time before the second fold."""
    chosen: NDArray[np.int64]
    """Index of the setting that was chosen, shaped as ``errors``."""


def deal(settings: Tune, contract: Contract, frame: pd.DataFrame) -> list[Folds]:
    """Deal the rows into folds, once for each round; by time there is one way, so one round."""
    rounds = 1 if contract.split.by == "time" else settings.repeats
    return [
        deal_once(contract, frame, settings.folds, settings.seed + repeat)
        for repeat in range(rounds)
    ]


def parts(settings: Tune, folds: list[Folds], choice: bool) -> list[Part]:
    """All fits of a setting; without a ``choice`` to nest, one fold at a time is enough."""
    single = [(fold,) for fold in range(settings.folds)]
    nested = choice and not folds[0].forward
    pairs = itertools.combinations(range(settings.folds), 2) if nested else ()
    return [*itertools.product(range(len(folds)), [*single, *pairs])]


def fit(model: str, tried: list[Setting], part: Part, data: Data) -> Found:
    """Fit each setting to the rows of the other folds and score it on the unseen ones.

    All settings of a candidate share one preprocessing.

    Raises
    ------
    ValueError
        scikit-learn's word for a value that it does not take, with the setting that has it.
    """
    repeat, folds = part
    fold, task = data.folds[repeat].of_row, task_of(data.contract)
    seen, unseen = data.folds[repeat].seen(*folds), np.isin(fold, folds)
    known, actual = data.target[seen], data.target[unseen]
    transform = data.contract.target.transform
    errors, predictions = [], []
    prepare = build(data.contract, model, tried[0], data.seed)["prepare"]
    fitted = prepare.fit_transform(data.features[seen], known)
    asked = prepare.transform(data.features[unseen])
    # The first round has validated each setting, and the contract the rows.
    with sklearn.config_context(skip_parameter_validation=repeat > 0, assume_finite=True):
        for setting in tried:
            try:
                one = estimator(model, setting, data.seed, transform).fit(fitted, known)
            except ValueError as error:
                raise ValueError(f"{model}: {setting}: {error}") from error
            predictions.append(one.predict(asked))
            losses = task.loss(actual, predictions[-1])
            errors.append([task.score(losses[fold[unseen] == k].mean()) for k in folds])
    return np.array(errors), np.array(predictions)


def gather(parts: list[Part], found: list[Found], folds: list[Folds]) -> Found:
    """Put the results of all parts into one place.

    Returns
    -------
    errors : ndarray, shape (settings, repeats, K, K)
        Score on fold k of the models that saw neither k nor j; without pairs of folds zero where
        k and j differ.
    predictions : ndarray, shape (settings, repeats, n)
        Out of fold, target units; NaN for rows that are never left out.
    """
    repeats, rows, count = len(folds), len(folds[0].of_row), len(found[0][0])
    size = int(folds[0].of_row.max()) + 1
    errors = np.zeros((count, repeats, size, size))
    predictions = np.full((count, repeats, rows), np.nan)
    for (repeat, unseen), (scores, predicted) in zip(parts, found, strict=True):
        one, other = unseen[0], unseen[-1]
        errors[:, repeat, one, other] = scores[:, 0]
        errors[:, repeat, other, one] = scores[:, -1]
        if one == other:
            predictions[:, repeat, folds[repeat].of_row == one] = predicted
    return errors, predictions


def plain(errors: Array) -> Array:
    """Score of each setting on each fold, shape (settings, repeats, folds): not nested."""
    return np.diagonal(errors, axis1=2, axis2=3)


def nest(tried: list[Setting], errors: Array, predictions: Array, folds: list[Folds]) -> Result:
    """Predict each fold with the setting that does best on the other folds without it; ties: the first."""
    outer, first = plain(errors), int(folds[0].forward)
    if first:
        others = np.cumsum(outer, axis=2) - outer  # the folds before it
    else:
        # errors[:, r, j, k] scores fold j without k: the sum over j less the fold itself chooses for k.
        others = errors.sum(axis=2) - outer
    chosen = others.argmin(axis=0)
    nested = np.take_along_axis(outer, chosen[None], axis=0)[0]
    of_row = np.stack([dealt.of_row for dealt in folds])
    of_rows = np.take_along_axis(chosen, of_row, axis=1)[None]
    averaged = np.take_along_axis(predictions, of_rows, axis=0)[0].mean(axis=0)
    averaged[of_row[0] < first] = np.nan
    return Result(tried, outer, nested[:, first:], averaged, chosen[:, first:])
