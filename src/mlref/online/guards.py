"""Which labels may be learned: those of new rows on the training side of the split that look sound."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from mlref.core.contract import Contract
from mlref.core.errors import MlrefError
from mlref.core.settings import Settings
from mlref.data.split import split
from mlref.data.tables import decode, row_ids
from mlref.online.learner import Learner
from mlref.prediction_log.encode import decoder
from mlref.prediction_log.reader import LabelledChunk
from mlref.registry.learned import Event

HOUR = 3600


def check(contract: Contract) -> None:
    """Refuse a contract by which nobody can say on which side of the split a logged row is."""
    missing = {*contract.header} - {column.name for column in contract.columns}
    if missing or contract.split.by == "time":
        why = f"the log has no {', '.join(sorted(missing))}" if missing else "it divides by time"
        raise MlrefError(
            f"By this contract nobody can tell which new rows belong to the test set: {why}. `mlref"
            " labels import` and `make train` learn them offline."
        )


def decoded(contract: Contract, rows: Iterable[Iterable[float | None]], label: Any) -> pd.DataFrame:
    """Encoded rows and their labels as a table of the contract."""
    cells = np.array([*rows], np.float64).reshape(-1, len(contract.features))
    table: dict[str, Any] = {}
    for column, values in zip(contract.features, cells.T.tolist(), strict=True):
        plain = decoder(column)
        table[column.name] = [None if cell != cell else plain(cell) for cell in values]
    frame = pd.DataFrame(table | {contract.target.name: label}, columns=[*contract.header])
    return decode(frame, contract.columns)


class Guards:
    """Says of each label why it is not learned, if it is not, in the order in which labels arrive.

    Parameters
    ----------
    trained : frozenset of str
        Names of the rows that the champion was trained on.
    """

    def __init__(
        self, contract: Contract, trained: frozenset[str], learner: Learner, settings: Settings
    ) -> None:
        self.contract, self.trained, self.settings = contract, trained, settings
        self.learner, self._known, self._taken = learner, dict[str, str](), Counter[Any]()

    def judge(self, found: LabelledChunk) -> list[Event]:
        """Make events of labels."""
        chunk, contract, scale = found.chunk, self.contract, self.learner.scale
        frame = decoded(contract, chunk.rows, found.label)
        names, null = row_ids(contract, frame), [not one.nullable for one in contract.features]
        low, high = contract.target.bounds
        allowed = np.isfinite(chunk.value) & (low <= found.label) & (found.label <= high)
        allowed &= ~np.isnan(chunk.rows[:, null]).any(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):  # logarithms of what is not allowed
            away = np.abs(scale(found.label) - scale(chunk.value))
        reasons = {
            "test set": split(contract, frame, self.settings.split),
            "copy": np.array([name in self.trained for name in names]),
            "not allowed": ~allowed,
            "strange": away > self.learner.far,
        }
        events = map(
            Event, chunk.arrivals.tolist(), chunk.ids, names, chunk.rows.tolist(), chunk.value.tolist(),
            found.label.tolist(), [source or "" for source in found.sources], found.received.tolist(),
            np.select([*reasons.values()], [*reasons], "").tolist(),
        )  # fmt: skip
        return [self._judged(event) for event in events]

    def _judged(self, event: Event) -> Event:
        """What depends on the labels before it."""
        if not event.why and self._known.get(event.name, event.id) != event.id:
            event = event._replace(why="copy")
        if not event.why and self._taken[_hour(event)] >= self.settings.online.quota:
            event = event._replace(why="quota")
        event = event._replace(again=event.name in self._known)
        self.remember(event)
        return event

    def remember(self, event: Event) -> None:
        """Take note of what was learned from whom."""
        if event.why in ("", "shift", "step", "label coverage"):
            self._known[event.name] = event.id
            self._taken[_hour(event)] += 1


def _hour(event: Event) -> tuple[str, int]:
    return event.source, int(event.received // HOUR)
