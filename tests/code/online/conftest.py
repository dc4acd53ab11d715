"""Rents that the champion has predicted, with their ground truth in the log."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest

from mlref.bundle.store import Store
from mlref.core.storage import Project
from mlref.data.tables import encode
from mlref.prediction_log import ground_truth
from mlref.prediction_log.database import Database
from mlref.prediction_log.ground_truth import Label
from mlref.prediction_log.ids import new_ids
from mlref.prediction_log.records import LoggedModel, Predicted
from mlref.prediction_log.writer import open_log
from tests.projects import rents, set_params

Send = Callable[..., list[str]]
ALL = slice(None)
ERROR = 60.0
"""Standard deviation of the rents' noise."""


def market(rows: int, seed: int, level: float = 0.0) -> pd.DataFrame:
    """Rents, higher by so many standard deviations of the error."""
    frame = rents(rows, seed)
    return frame.assign(rent=(frame["rent"] + level * ERROR).clip(upper=20_000))


@pytest.fixture
def project(published: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A registered project; a proposal asks for 40 labels."""
    monkeypatch.chdir(published.root)
    set_params(published, retrain={"rows": 40}, register={"slice_margin": 0.5})
    return published


@pytest.fixture
def label(project: Project) -> Iterator[Callable[..., None]]:
    """Sends labels of predictions that are logged."""
    database = Database.of(project)

    def given(ids: list[str], values: list[float], who: str | None = None) -> None:
        pairs = zip(ids, values, strict=True)
        ground_truth.add(database, [Label(*pair, None, who) for pair in pairs])

    yield given
    database.close()


@pytest.fixture
def send(project: Project, label: Callable[..., None]) -> Iterator[Send]:
    """Logs rents as the champion's answers, with labels of those ``labelled``; returns the ids."""
    log = open_log(project)

    def logged(
        frame: pd.DataFrame, who: str = "", labelled: slice = ALL, **about: str
    ) -> list[str]:
        predictor, record = Store(project.store).open("champion")
        model = LoggedModel(str(record["version"]), predictor.digest, predictor.contract)
        rows, labels = encode(predictor.contract, frame)
        ids = []
        for part in np.array_split(np.arange(len(rows)), -(-len(rows) // 10)):  # times must differ
            ids += (names := new_ids(len(part)))
            answers = predictor.predict(rows[part])
            log.predictions(Predicted(model, names, rows[part], *answers, **about))  # type: ignore[arg-type]
            assert log.flush(60)
        label(ids[labelled], labels.tolist()[labelled], who or None)
        return ids

    yield logged
    log.close()
