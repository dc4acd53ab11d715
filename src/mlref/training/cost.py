"""What a candidate costs on a large table, before anything is tuned: columns, memory, time of a fit."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import PolynomialFeatures

from mlref.core.contract import Contract
from mlref.core.errors import DataError
from mlref.core.rows import Array
from mlref.core.settings import Tune
from mlref.training.candidates import BASELINES, SLOW, build
from mlref.training.sampling import Setting

LARGE = 20_000
"""Training rows from which costs are said; with fewer everything is over in a minute or two."""

COPIES = 3
"""Of the encoded table in one fit: the columns, the estimator's copy, and what is made on the way."""


class Cost(NamedTuple):
    """Of one fit on all training rows; ``columns`` are those after encoding."""

    columns: int
    gigabytes: float
    refusal: str
    """Why the candidate is left out; empty where it is not."""


def costs(
    contract: Contract, settings: Tune, first: dict[str, Setting], features: Array, target: Array
) -> dict[str, Cost]:
    """The cost of each candidate with its first setting.

    Parameters
    ----------
    first : dict of str to dict
        A setting of each candidate.
    features : ndarray of float64, shape (n, features)
        All training rows.
    target : ndarray of float64, shape (n,)

    Raises
    ------
    DataError
        When the table is too large for the baselines too.
    """
    rows, found = len(target), dict[str, Cost]()
    for name, setting in first.items():
        columns = _columns(build(contract, name, setting, settings.seed), features, target)
        gigabytes = COPIES * rows * columns * 8 / 1e9
        refusal = ""
        if rows > SLOW.get(name, rows):
            refusal = f"slow beyond {SLOW[name]} rows; hist_gradient_boosting takes seconds there"
        if gigabytes > settings.memory:
            refusal = f"a fit needs {gigabytes:.2g} GB; tune.memory allows {settings.memory:g}"
        if refusal and name in BASELINES:
            problem = f"{rows} rows × {columns} columns after encoding: {refusal}"
            remedy = "Raise it in config/params.yaml, or `ignore` columns in the contract."
            raise DataError("data/split/train.parquet", problem, remedy)
        found[name] = Cost(columns, gigabytes, refusal)
    return found


def _columns(model: Pipeline, features: Array, target: Array) -> int:
    """Columns of the widest step."""
    prepare = model["prepare"].fit(features[:100], target[:100])
    columns = int(prepare.transform(features[:1]).shape[1])
    inner = getattr(model["estimate"], "regressor", model["estimate"])
    if isinstance(inner, Pipeline) and isinstance(inner[0], PolynomialFeatures):
        columns = int(inner[0].fit(np.zeros((1, columns))).n_output_features_)
    return columns


def describe(
    contract: Contract,
    settings: Tune,
    first: dict[str, Setting],
    found: dict[str, Cost],
    features: Array,
    target: Array,
) -> Iterator[str]:
    """A line about the table and one about each candidate; measures a fit of each to a sample."""
    rows, compared = len(target), min(len(target), settings.rows)
    yield f"{rows} rows to train on; candidates are compared on {compared} (tune.rows), fitted on all."
    some = np.random.RandomState(settings.seed).permutation(rows)[:compared]
    for name, cost in found.items():
        if cost.refusal:
            yield f"  {name} is left out: {cost.refusal}"
            continue
        began = time.perf_counter()
        build(contract, name, first[name], settings.seed).fit(features[some], target[some])
        seconds = (time.perf_counter() - began) * rows / len(some)
        size = f"{cost.columns} columns after encoding, {cost.gigabytes:.2f} GB"
        yield f"  {name}: {size}, about {max(seconds, 1):.0f} s for a fit on all rows"
