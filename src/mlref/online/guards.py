"""Which labels may be learned: those of new rows on the training side of the split that look sound."""

from collections.abc import Collection, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import pandas as pd

from mlref.core.contract import Contract
from mlref.core.errors import MlrefError
from mlref.core.settings import Settings
from mlref.data.labelled import TIME
from mlref.data.split import split
from mlref.data.tables import decode, refusals, row_ids
from mlref.online.learner import Learner
from mlref.prediction_log.encode import decoder
from mlref.prediction_log.ids import moment
from mlref.prediction_log.reader import LabelledChunk
from mlref.registry.learned import Event


def check(contract: Contract) -> None:
    """Refuse a contract by which nobody can say on which side of the split a logged row is."""
    missing = {*contract.header} - {column.name for column in contract.columns}
    if missing or contract.split.by == "time":
        raise MlrefError(
            "By this contract nobody can tell which new rows belong to the test set: it divides by time, or"
            " by a column that is not logged. `mlref labels import` and `make train` learn them offline."
        )


def table(contract: Contract, events: Sequence[Event]) -> pd.DataFrame:
    """Labelled predictions as a table of the contract, and when they were made."""
    cells = np.array([e.row for e in events], np.float64).reshape(-1, len(contract.features))
    known: dict[str, Any] = {}
    for column, values in zip(contract.features, cells.T.tolist(), strict=True):
        plain = decoder(column)
        known[column.name] = [None if cell != cell else plain(cell) for cell in values]
    known[contract.target.name] = [event.label for event in events]
    known[TIME] = pd.to_datetime([moment(event.id) for event in events]).tz_localize(None)
    return decode(pd.DataFrame(known)[[*contract.header, TIME]], contract.columns)


def judged(
    found: LabelledChunk, contract: Contract, trained: Collection[str], learner: Learner,
    settings: Settings,
) -> list[Event]:  # fmt: skip
    """Make events of labels, each with the reason why it may not be learned, if there is one."""
    chunk, sources = found.chunk, [who or "" for who in found.sources]
    answers = chunk.rows.tolist(), chunk.value.tolist(), found.label.tolist(), sources
    parts = chunk.arrivals.tolist(), chunk.ids, repeat(""), *answers, found.received.tolist()
    events = [*map(Event, *parts)]
    frame = table(contract, events)
    names, refused = row_ids(contract, frame), {one.row for one in refusals(contract, frame)}
    reasons = {
        "test set": split(contract, frame, settings.split),
        "trained on": np.array([name in trained for name in names]),
        "not allowed": np.array([row in refused for row in range(len(names))]),
        "strange": np.abs(learner.errors(events)) > learner.far,
    }
    whys = np.select([*reasons.values()], [*reasons], "").tolist()
    return [e._replace(name=n, why=why) for e, n, why in zip(events, names, whys, strict=True)]
