"""Rents that the champion of a project has answered, with their ground truth in the log."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mlref.bundle.store import Store
from mlref.core.storage import Project
from mlref.data.tables import encode
from mlref.prediction_log import ground_truth
from mlref.prediction_log.database import Database
from mlref.prediction_log.ground_truth import Label
from mlref.prediction_log.ids import new_ids
from mlref.prediction_log.records import LoggedModel, Predicted
from mlref.prediction_log.writer import open_log

ALL = slice(None)


def label(
    project: Project, ids: Sequence[str], values: Sequence[float], who: str | None = None
) -> None:
    """Send labels of predictions that are logged."""
    database = Database.of(project)
    pairs = zip(ids, values, strict=True)
    ground_truth.add(database, [Label(*pair, None, who) for pair in pairs])
    database.close()


def send(
    project: Project,
    frame: pd.DataFrame,
    who: str | None = None,
    labelled: slice = ALL,
    **about: str,
) -> list[str]:
    """Log rents as the champion's answers, with the labels of those ``labelled``; returns the ids."""
    predictor, record = Store(project.store).open("champion")
    model = LoggedModel(str(record["version"]), predictor.digest, predictor.contract)
    rows, labels = encode(predictor.contract, frame)
    ids: list[str] = []
    with open_log(project) as log:
        for part in np.array_split(rows, -(-len(rows) // 10)):  # times must differ
            names = new_ids(len(part))
            log.predictions(Predicted(model, names, part, *predictor.predict(part), **about))
            assert log.flush(60)
            ids += names
    label(project, ids[labelled], labels.tolist()[labelled], who)
    return ids
