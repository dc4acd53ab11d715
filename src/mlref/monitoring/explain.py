"""Explain: each threshold with its reason, and whether new rows differ from earlier ones in any way.

Joint drift explains and never pages: a value above chance says that something differs, not that it matters.
"""

import contextlib
import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from mlref.console import table
from mlref.core.contract import Contract
from mlref.core.digits import number
from mlref.core.rows import Array
from mlref.core.storage import Project
from mlref.monitoring.run import Asked, Model
from mlref.monitoring.thresholds import SHARES
from mlref.monitoring.watched import watched
from mlref.prediction_log.database import Database
from mlref.prediction_log.reader import Chunk, stream

SAMPLE = 10_000
"""Rows of each side at most."""


def explain(project: Project, asked: Asked) -> Iterator[Any]:
    """A table of a model's simulated thresholds, and what tells its last rows from its first.

    Joint drift is left out where there are too few rows to tell.
    """
    with contextlib.closing(Database.of(project)) as database:
        model = Model(project, asked.version or "champion", asked, 0.0, database)
        contract, settings = model.known.contract, model.settings.monitor
        limits = model.thresholds.at(asked.size.rows or model.smallest)
        chunks = stream(database, contract, role="champion", digest=model.digest)
        before, after = ends(chunks, len(contract.names))
    rows = [
        [monitor, column, number(limit), number(settings.alarms_a_month * SHARES[monitor]),
         watched()[monitor].measures]
        for monitor, columns in limits.items() for column, limit in columns.items()
    ]  # fmt: skip
    head = ["monitor", "column", "threshold", "false alarms a month", "reason"]
    yield table(head, rows, title=f"Thresholds of a window of {asked.size}")
    if len(before) >= model.smallest:
        auc, column, alone = tell(contract, before, after, settings.seed)
        yield (
            f"A classifier tells the last {len(after)} rows from the first {len(before)} with an AUC of"
            f" {number(auc)} (0.5 is chance); {column} alone with {number(alone)}."
        )


def ends(chunks: Iterator[Chunk], columns: int) -> tuple[Array, Array]:
    """The first and the last rows of a stream, as many of each and none on both sides.

    The first chunk and the last two hold them, since a whole chunk has more rows than a side.
    """
    held = [*itertools.islice(chunks, 1), *deque(chunks, 2)]
    rows = np.vstack([np.empty((0, columns)), *(chunk.rows for chunk in held)])
    half = min(SAMPLE, len(rows) // 2)
    return rows[:half], rows[len(rows) - half :]


def tell(contract: Contract, before: Array, after: Array, seed: int) -> tuple[float, str, float]:
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

    Returns
    -------
    auc : float
        Area under the ROC curve of all columns together, cross-validated; 0.5 by chance alone.
    column : str
        The column that tells most by itself.
    alone : float
        Its own area.
    """
    from sklearn.ensemble import ExtraTreesClassifier  # takes seconds to import
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    names = [one.name for one in contract.features if one.type != "date"]
    if not names:
        return 0.5, "no column", 0.5
    rows = np.vstack([before, after])[:, [contract.names.index(name) for name in names]]
    side = np.repeat([0, 1], [len(before), len(after)])
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    model = ExtraTreesClassifier(50, min_samples_leaf=5, max_features=None, random_state=seed)
    chances = cross_val_predict(model, rows, side, cv=folds, method="predict_proba")[:, 1]
    single = [roc_auc_score(side, np.nan_to_num(column, nan=-1e300)) for column in rows.T]
    alone = np.maximum(single, 1 - np.array(single))
    most = int(alone.argmax())
    return float(roc_auc_score(side, chances)), names[most], float(alone[most])
