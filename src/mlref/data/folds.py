"""Folds that keep to the contract: rows that belong together are left out together."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlref.core.contract import Contract
from mlref.core.errors import DataError
from mlref.core.rows import Mask
from mlref.data.tables import row_ids, times

Rows = NDArray[np.int64]
"""Positions of rows."""


def units(contract: Contract, frame: pd.DataFrame) -> pd.Series:
    """What decides the side of each row, and its fold: its identity, its group or its time.

    Equal ones stay together. The time of a row is that of the last of its copies.
    """
    names, column = pd.Series(row_ids(contract, frame)), contract.split.column
    if column is None:
        return names
    cells = frame[column].reset_index(drop=True)
    if contract.split.by == "time":
        return times(cells).groupby(names).transform("max")
    if (cells.groupby(names).nunique() > 1).any():
        problem = f"rows of one identity are in two groups of {column!r}"
        remedy = "Correct them, or declare another `identity` or `split` in the contract."
        raise DataError("data/validated", problem, remedy)
    return cells


class Folds(NamedTuple):
    """In which fold each row is left out, and what a model may learn from that predicts it.

    Parameters
    ----------
    of_row : ndarray of int64, shape (n,)
        The fold; -1 for rows that are never left out.
    unit : ndarray of int64, shape (n,)
        Rows that stay together have the same number; by time it rises.
    forward : bool
        Whether a model may learn from earlier folds only.
    """

    of_row: NDArray[np.int64]
    unit: NDArray[np.int64]
    forward: bool

    def seen(self, *unseen: int) -> Mask:
        """The rows that a model may learn from while these folds are left out."""
        if self.forward:
            return self.of_row < min(unseen)
        return ~np.isin(self.of_row, unseen)

    def pairs(self, share: float = 1.0, seed: int = 0) -> Iterator[tuple[Rows, Rows]]:
        """Positions to learn from and to leave out, fold by fold: scikit-learn's ``cv``.

        Of what may be learned from, ``share`` is taken: by time the latest, else any, whole groups.
        """
        generator = np.random.default_rng(seed)
        for fold in range(self.of_row.max() + 1):
            seen = self.seen(fold)
            known = np.unique(self.unit[seen])
            known = known if self.forward else generator.permutation(known)
            seen &= np.isin(self.unit, known[-max(1, round(share * len(known))) :])
            yield np.flatnonzero(seen), np.flatnonzero(self.of_row == fold)


def sample(frame: pd.DataFrame, rows: int, seed: int) -> pd.DataFrame:
    """At most so many rows, drawn by the seed, in their order."""
    if len(frame) <= rows:
        return frame
    return frame.iloc[np.sort(np.random.RandomState(seed).permutation(len(frame))[:rows])]


def deal(contract: Contract, frame: pd.DataFrame, count: int, seed: int) -> Folds:
    """Deal rows into folds that keep to the contract's ``split``.

    Tuning, training, evaluation and the gate use no others. Target encoding deals single rows inside a
    fit, and label issues and the explanation of a drift have folds of their libraries.

    By time the rows are cut into ``count`` + 1 parts of about equal size. The first is only learned
    from, and each other one is predicted by models of the parts before it; the seed changes nothing.

    Raises
    ------
    DataError
        When there are too few different rows, groups or times.
    """
    found = units(contract, frame)
    unit, distinct = pd.factorize(found, sort=contract.split.by == "time")
    if contract.split.by == "time":
        earlier = found.rank(method="min").to_numpy() - 1
        fold, parts = (earlier * (count + 1) // len(found)).astype(np.int64) - 1, count + 1
    else:
        order = np.random.RandomState(seed).permutation(len(distinct))  # as scikit-learn's KFold
        fold_of, parts = np.empty(len(distinct), np.int64), count
        for place, some in enumerate(np.array_split(order, count)):
            fold_of[some] = place
        fold = fold_of[unit]
    if len(np.unique(fold)) < parts:
        problem = f"{different(contract, len(distinct))} are too few for {count} folds"
        remedy = "Ask for fewer folds in config/params.yaml."
        raise DataError("data/split/train.parquet", problem, remedy)
    return Folds(fold, unit, contract.split.by == "time")


def different(contract: Contract, count: int) -> str:
    """So many different rows, groups or times, in words."""
    column = contract.split.column
    return f"{count} different " + ("rows" if column is None else f"values of {column!r}")
