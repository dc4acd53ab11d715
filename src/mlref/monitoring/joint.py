"""Joint drift: whether a classifier tells new rows from earlier ones, which no single column may show.

It explains and never pages: a value above chance says that something differs, not that it matters.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mlref.core.contract import Contract
from mlref.core.digits import number
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
    """

    auc: float
    column: str
    alone: float


def first_and_last(chunks: Iterable[Chunk]) -> tuple[Array, Array]:
    """The first and the last rows of a stream, as many of each and none on both sides."""
    first, last = list[Array](), np.empty((0, 0))
    for chunk in chunks:
        first.append(chunk.rows[: SAMPLE - sum(map(len, first))])
        last = np.vstack([last, chunk.rows])[-2 * SAMPLE :] if last.size else chunk.rows
    half = min(SAMPLE, max(sum(map(len, first)), len(last)) // 2)
    return np.vstack([*first, last[:0]])[:half], last[len(last) - half :]


def tell(contract: Contract, before: Array, after: Array, seed: int) -> Told:
    """Measure how well rows are told apart (Lopez-Paz and Oquab 2017, classifier two-sample test).

    Dates are left out, since they always tell; without another column nothing can be told.

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

    names = [one.name for one in contract.features if one.type != "date"]
    if not names:
        return Told(0.5, "no column", 0.5)
    rows = np.vstack([before, after])[:, [contract.names.index(name) for name in names]]
    side = np.repeat([0, 1], [len(before), len(after)])
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    model = ExtraTreesClassifier(50, min_samples_leaf=5, max_features=None, random_state=seed)
    chances = cross_val_predict(model, rows, side, cv=folds, method="predict_proba")[:, 1]
    single = [roc_auc_score(side, np.nan_to_num(column, nan=-1e300)) for column in rows.T]
    alone = np.maximum(single, 1 - np.array(single))
    most = int(alone.argmax())
    return Told(float(roc_auc_score(side, chances)), names[most], float(alone[most]))


def sentence(contract: Contract, before: Array, after: Array, seed: int) -> str:
    """Say what :func:`tell` finds."""
    told, rows = tell(contract, before, after, seed), len(after)
    return (
        f"A classifier tells the last {rows} rows from the first {rows} with an AUC of"
        f" {number(told.auc)} (0.5 is chance); {told.column} alone with {number(told.alone)}."
    )
