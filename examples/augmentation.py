"""Augmentation: does it help to train on jittered copies of the rows? Measured, not assumed.

    python examples/augmentation.py [--copies 5]

Works on the training set of the clone around the current folder, after `make train`; nothing is changed.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mlref.core import settings
from mlref.core.contract import Contract, load
from mlref.core.digits import digits, show_number
from mlref.core.errors import MlrefError
from mlref.core.rows import Array
from mlref.core.storage import Project, read_json
from mlref.core.task import task_of
from mlref.data.folds import Folds
from mlref.data.tables import encode, read_parquet
from mlref.evaluation.compare import score_difference
from mlref.evaluation.metrics import Interval
from mlref.training.candidates import build
from mlref.training.nested import deal


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
    folds: list[Folds], bootstrap: settings.Bootstrap,
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
    folds : list of Folds
        One for each round.

    Returns
    -------
    difference : Interval
        Score with copies minus score without, negative where they help.
    plain : float
        Score without.
    """
    predictions, generator = np.zeros((2, len(target))), np.random.default_rng(bootstrap.seed)
    for train, test in (pair for dealt in folds for pair in dealt.pairs()):
        known, answers = features[train], target[train]
        more = [known, *(jitter(contract, known, generator) for _ in range(copies))]
        with_copies = make().fit(np.concatenate(more), np.tile(answers, copies + 1))
        predictions[0, test] += with_copies.predict(features[test]) / len(folds)
        predictions[1, test] += make().fit(known, answers).predict(features[test]) / len(folds)
    left_out = folds[0].of_row >= 0  # by time the first rows are only learned from
    target, predictions = target[left_out], predictions[:, left_out]
    task = task_of(contract)
    plain = float(task.score(task.loss(target, predictions[1]).mean()))
    return score_difference(target, predictions[0], predictions[1], bootstrap, task), plain


def verdict(found: Interval, plain: float, places: int) -> str:
    """Say in words what a difference in the score means.

    Examples
    --------
    >>> verdict({"value": 0.25, "lower": -0.5, "upper": 1.0}, 54.0, 2)
    'Augmentation does not help: the score 54.00 becomes 54.25, a difference of +0.25 [-0.50, +1.00].'
    """
    word = "does not help"
    if found["upper"] < 0:
        word = "helps"
    elif found["lower"] > 0:
        word = "makes the model worse"
    before, after = (show_number(score, places) for score in (plain, plain + found["value"]))
    difference, lower, upper = (
        show_number(found[end], places, "+") for end in ("value", "lower", "upper")
    )
    return (
        f"Augmentation {word}: the score {before} becomes {after}, a difference of {difference}"
        f" [{lower}, {upper}]."
    )


def run(project: Project, copies: int = 5) -> str:
    """Measure the effect on the training set of a clone.

    Raises
    ------
    MlrefError
        For a contract without a measurement error, and where nothing was trained.
    """
    contract, params = load(project.contract), settings.load(project.params)
    varied = [column.name for column in contract.features if column.error is not None]
    if not varied:
        raise MlrefError(
            "No feature in config/dataset.yaml declares an `error`, so there is nothing to jitter.\n"
            "  Give a column that is a number the standard deviation of its measurement, in its unit."
        )
    frame = read_parquet(project.train)
    features, target = encode(contract, frame)
    tuning = read_json(project.tuning)
    make = partial(build, contract, tuning["model"], tuning["parameters"], params.train.seed)
    folds = deal(params.tune, contract, frame)
    found, plain = effect(contract, make, features, target, copies, folds, params.evaluate)
    return (
        f"{tuning['model']} on {len(target)} training rows; copies of each: {copies}, jittered in"
        f" {', '.join(varied)}.\n{verdict(found, plain, digits(contract.target) + 1)}"
    )


def main() -> int:
    """Print the effect."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--copies", type=int, default=5, help="jittered copies of each row")
    try:
        print(run(Project.here(), parser.parse_args().copies))
    except MlrefError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
