"""Joint drift: whether a classifier tells new rows from earlier ones, which no single column may show.

It explains and never pages: a value above chance says that something differs, not that it matters.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mlref.core.contract import Contract
from mlref.core.rows import Array
from mlref.prediction_log.reader import Chunk

SAMPLE = 10_000
"""Rows of each side at most."""


class Told(NamedTuple):
    """How well new rows are told from earlier ones: area under the ROC curve, 0.5 by chance alone.

    Parameters
    ----------
    auc : float
        Of all columns together, cross-validated.
    column : str
        The column that tells most by itself, and ``alone`` its own area.
    rows : int
        Of each side.
    """

    auc: float
    column: str
    alone: float
    rows: int


def first_and_last(chunks: Iterable[Chunk]) -> tuple[Array, Array]:
    """The first and the last rows of a stream, as many of each and none on both sides."""
    first, last = np.empty((0, 0)), np.empty((0, 0))
    for chunk in chunks:
        if len(first) < SAMPLE:
            first = np.vstack([first, chunk.rows])[:SAMPLE] if first.size else chunk.rows[:SAMPLE]
        last = np.vstack([last, chunk.rows])[-2 * SAMPLE :] if last.size else chunk.rows
    half = min(SAMPLE, max(len(first), len(last)) // 2)
    return first[:half], last[len(last) - half :]


def tell(contract: Contract, before: Array, after: Array, seed: int) -> Told:
    """Measure how well rows are told apart (Lopez-Paz and Oquab 2017, classifier two-sample test).

    Parameters
    ----------
    contract : Contract
        Names the columns.
    before, after : ndarray of float64, shape (n, features)
        Encoded rows, at least 20 on each side.
    seed : int
        Decides the folds.
    """
    from sklearn.ensemble import ExtraTreesClassifier  # takes seconds to import
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rows, side = np.vstack([before, after]), np.repeat([0, 1], [len(before), len(after)])
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    model = ExtraTreesClassifier(50, min_samples_leaf=5, max_features=None, random_state=seed)
    chances = cross_val_predict(model, rows, side, cv=folds, method="predict_proba")[:, 1]
    single = [roc_auc_score(side, np.nan_to_num(column, nan=-1e300)) for column in rows.T]
    alone = np.maximum(single, 1 - np.array(single))
    most = int(alone.argmax())
    return Told(float(roc_auc_score(side, chances)), contract.names[most], alone[most], len(before))
