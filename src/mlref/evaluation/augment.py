"""Does it help to train on jittered copies of the rows? Measured, not assumed."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from sklearn.model_selection import KFold

from mlref.core import settings
from mlref.core.contract import Contract, load
from mlref.core.errors import MlrefError
from mlref.core.rows import Array
from mlref.core.storage import Project, read_json
from mlref.data.tables import encode, read_parquet
from mlref.evaluation.compare import rmse_difference
from mlref.evaluation.metrics import Interval
from mlref.training.candidates import build


def jitter(contract: Contract, features: Array, generator: np.random.Generator) -> Array:
    """Measure the same rows once more: add to each value a normal error of the declared size.

    Values stay inside ``valid``, whole numbers whole, and nulls null. A column without ``error`` stays
    as it is.

    Parameters
    ----------
    features : ndarray of float64, shape (n, features)

    Returns
    -------
    ndarray of float64, shape (n, features)
    """
    jittered = features.copy()
    for place, column in enumerate(contract.features):
        if column.error is None or column.valid is None:
            continue
        values = features[:, place] + generator.normal(0, column.error, len(features))
        lo, hi = column.valid
        if column.type == "integer":
            values, lo, hi = np.round(values), np.ceil(lo), np.floor(hi)
        jittered[:, place] = np.clip(values, lo, hi)
    return jittered


def effect(
    contract: Contract, make: Callable[[], Any], features: Array, target: Array, copies: int,
    tune: settings.Tune, knobs: settings.Bootstrap,
    track: Callable[[list[Any]], Iterable[Any]] = iter,
) -> tuple[Interval, float]:  # fmt: skip
    """Compare training with and without jittered copies, by paired cross-validation.

    In each fold both models are fitted on the other folds, one of them with the copies of those rows as
    well, and predict the fold as it was measured. A copy of a fold's own row would give it away.

    Parameters
    ----------
    make : callable
        Makes the unfitted model.
    features : ndarray of float64, shape (n, features)
    target : ndarray of float64, shape (n,)
        Target units.

    Returns
    -------
    difference : Interval
        RMSE with copies minus RMSE without, target units; negative where they help.
    plain : float
        RMSE without.
    """
    predictions = np.zeros((2, len(target)))
    folds = [
        fold
        for repeat in range(tune.repeats)
        for fold in KFold(tune.folds, shuffle=True, random_state=tune.seed + repeat).split(features)
    ]
    generator = np.random.default_rng(tune.seed)
    for train, test in track(folds):
        known, answers = features[train], target[train]
        more = [known, *(jitter(contract, known, generator) for _ in range(copies))]
        with_copies = make().fit(np.concatenate(more), np.tile(answers, copies + 1))
        predictions[0, test] += with_copies.predict(features[test]) / tune.repeats
        predictions[1, test] += make().fit(known, answers).predict(features[test]) / tune.repeats
    plain = float(np.sqrt(np.mean((target - predictions[1]) ** 2)))
    return rmse_difference(target, predictions[0], predictions[1], knobs), plain


def run(
    project: Project, track: Callable[[list[Any]], Iterable[Any]] = iter, copies: int = 5
) -> str:
    """Measure the effect on the training split of this clone; nothing is changed."""
    contract, params = load(project.contract), settings.load(project.params)
    varied = [column.name for column in contract.features if column.error is not None]
    if not varied:
        raise MlrefError(
            "No feature in config/dataset.yaml declares an `error`, so there is nothing to jitter.\n"
            "  Give a column that is a number the standard deviation of its measurement, in its unit."
        )
    features, target = encode(contract, read_parquet(project.train))
    tuning = read_json(project.tuning)
    make = partial(build, contract, tuning["model"], tuning["parameters"], params.train.seed)
    found, plain = effect(
        contract, make, features, target, copies, params.tune, params.evaluate, track
    )
    return (
        f"{tuning['model']} on {len(target)} training rows; copies of each: {copies}, jittered in"
        f" {', '.join(varied)}.\n{verdict(found, plain)}"
    )


def verdict(found: Interval, plain: float) -> str:
    """Say in words what a difference in RMSE means.

    Examples
    --------
    >>> verdict({"value": 0.25, "lower": -0.5, "upper": 1.0}, 54.0)
    'Augmentation does not help: RMSE 54.00 becomes 54.25, a difference of +0.25 [-0.50, +1.00].'
    """
    word = "does not help"
    if found["upper"] < 0:
        word = "helps"
    elif found["lower"] > 0:
        word = "makes the model worse"
    return (
        f"Augmentation {word}: RMSE {plain:.2f} becomes {plain + found['value']:.2f}, a difference of"
        " {value:+.2f} [{lower:+.2f}, {upper:+.2f}].".format(**found)
    )
