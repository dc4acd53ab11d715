"""Which labels may be learned: those of new rows on the training side of the split, that look sound."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from mlref.core.contract import Contract
from mlref.core.errors import MlrefError
from mlref.core.rows import Array, Mask
from mlref.core.settings import Settings
from mlref.data.split import split
from mlref.data.tables import decode, row_ids
from mlref.online.learner import Learner
from mlref.prediction_log.encode import decoder
from mlref.prediction_log.reader import LabelledChunk
from mlref.registry.learned import Event

HOUR = 3600


def check(contract: Contract) -> None:
    """Refuse a contract by which it cannot be said on which side of the split a logged row is.

    Raises
    ------
    MlrefError
        Names what is in the way.
    """
    if contract.split.by == "time":
        raise MlrefError(
            "The contract divides by time, so that the newest rows are the test set and none is left to"
            " learn online. `mlref retrain` learns them when newer ones have come."
        )
    if missing := {*contract.header} - {column.name for column in contract.columns}:
        raise MlrefError(
            f"The prediction log has no {', '.join(sorted(missing))}, which names or divides the rows of"
            " this contract, so that nobody can tell the rows of the test set."
        )


def decoded(contract: Contract, rows: Iterable[Iterable[float | None]], label: Any) -> pd.DataFrame:
    """Encoded rows and their labels as a table of the contract."""
    cells = np.array([*rows], np.float64).reshape(-1, len(contract.features))
    frame = pd.DataFrame(index=range(len(cells)), columns=contract.header, dtype=object)
    for column, values in zip(contract.features, cells.T.tolist(), strict=True):
        decode_one = decoder(column)
        frame[column.name] = [None if cell != cell else decode_one(cell) for cell in values]
    frame[contract.target.name] = label
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
        self.contract, self.trained, self.learner, self.settings = (
            contract,
            trained,
            learner,
            settings,
        )
        self._known: dict[str, str] = {}
        self._taken: dict[str, tuple[int, int]] = {}

    def judge(self, found: LabelledChunk) -> list[Event]:
        """Make events of labels."""
        chunk, contract = found.chunk, self.contract
        frame = decoded(contract, chunk.rows, found.label)
        names, tested = row_ids(contract, frame), split(contract, frame, self.settings.split)
        null = np.array([not column.nullable for column in contract.features])
        low, high = contract.target.bounds
        allowed = np.isfinite(chunk.value) & (low <= found.label) & (found.label <= high)
        allowed &= ~np.isnan(chunk.rows[:, null]).any(axis=1)
        strange = self._strange(found.label, chunk.value, allowed)
        rows = chunk.rows.tolist()  # msgspec writes NaN as null
        events = []
        for place, (name, key) in enumerate(zip(names, chunk.ids, strict=True)):
            why = (
                "test set" if tested[place]
                else "copy" if name in self.trained or self._known.get(name, key) != key
                else "not allowed" if not allowed[place]
                else "strange" if strange[place] else ""
            )  # fmt: skip
            event = Event(
                int(chunk.arrivals[place]), key, name, rows[place], float(chunk.value[place]),
                float(found.label[place]), found.sources[place] or "", float(found.received[place]),
                why, name in self._known,
            )  # fmt: skip
            if not why and self._spent(event):
                event = event._replace(why="quota")
            self.remember(event)
            events.append(event)
        return events

    def remember(self, event: Event) -> None:
        """Take note of what was learned from whom."""
        if event.why in ("", "shift", "step", "label coverage"):
            self._known[event.name] = event.id
            hour, count = self._hour(event)
            self._taken[event.source] = hour, count + 1

    def _hour(self, event: Event) -> tuple[int, int]:
        """The hour of a label, and how many of its source came in it so far."""
        hour = int(event.received // HOUR)
        last, count = self._taken.get(event.source, (hour, 0))
        return hour, count if last == hour else 0

    def _spent(self, event: Event) -> bool:
        return self._hour(event)[1] >= self.settings.online.quota

    def _strange(self, label: Array, value: Array, allowed: Mask) -> Mask:
        """Labels that are further from the champion's answer than twice its largest error in training."""
        strange, scale = np.zeros(len(label), bool), self.learner.scale
        away = np.abs(scale(label[allowed]) - scale(value[allowed]))
        strange[allowed] = away > self.learner.far
        return strange
