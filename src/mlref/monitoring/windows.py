"""Windows: how rows that arrive one after the other are divided, and which windows are closed."""

import datetime
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Self

import numpy as np

from mlref.core.errors import MlrefError
from mlref.core.rows import Array
from mlref.prediction_log.ids import seconds, to_text
from mlref.prediction_log.reader import Chunk, LabelledChunk

DAY = 86_400
LARGEST = 200_000
"""Rows of a window at most, which bounds memory; a day with more rows has several windows."""

FIELDS = ("time", "predicted", "value", "lower", "upper", "label", "observed")

Rows = np.recarray[Any, Any]
"""Rows of the log with the fields of :func:`table`."""


def table(features: Array, **known: Any) -> Rows:
    """Put rows together; what is not known of them is NaN.

    Parameters
    ----------
    features : ndarray of float64, shape (n, features)
        Encoded.
    position : ndarray of int64, shape (n,)
        Numbers of arrival: of the prediction, or of the label.
    time, predicted, observed : ndarray of float64, shape (n,)
        When it was predicted or its label arrived, when it was predicted, and when the source of the label
        says that it was measured; seconds since 1970.
    value, lower, upper, label : ndarray of float64, shape (n,)
        What was answered, and ground truth, target units.
    source : sequence of str
        Who sent the label.
    """
    fields: Any = [(name, np.float64) for name in FIELDS]
    fields += [("position", np.int64), ("source", object), ("features", float, features.shape[1])]
    rows = np.recarray(len(features), fields)
    for name in FIELDS:
        rows[name] = known.get(name, np.nan)
    rows.position, rows.source = known.get("position", 0), known.get("source", "")
    rows.features = features
    return rows


def of_inputs(chunk: Chunk, **known: Any) -> Rows:
    """Predictions as rows, with nothing known of the truth."""
    made = seconds(chunk.ids)
    answered = {name: getattr(chunk, name) for name in ("value", "lower", "upper")}
    arrived = {"time": made, "predicted": made, "position": chunk.arrivals}
    return table(chunk.rows, **answered | arrived | known)


def of_labels(found: LabelledChunk) -> Rows:
    """Labels as rows, in the time of their arrival; a prediction without a value has no loss."""
    rows = of_inputs(
        found.chunk, time=found.received, label=found.label, observed=found.observed,
        source=[source or "" for source in found.sources],
    )  # fmt: skip
    answered: Rows = rows[np.isfinite(rows.value)]
    return answered


class Size(NamedTuple):
    """How long a window is: so many UTC days, or so many rows.

    Examples
    --------
    >>> Size.parse("1d"), Size.parse("200")
    (Size(days=1, rows=0), Size(days=0, rows=200))
    """

    days: int = 0
    rows: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what was asked for; MlrefError for anything else."""
        if not (match := re.fullmatch(r"([1-9][0-9]{0,8})(d?)", text)):
            raise MlrefError(
                f"A window is a number of days such as 1d, or of rows such as 200, not {text!r}."
            )
        number = int(match[1])
        return cls(days=number) if match[2] else cls(rows=min(number, LARGEST))

    def __str__(self) -> str:
        """As it was asked for."""
        return f"{self.days}d" if self.days else str(self.rows)

    def end(self, time: Array, smallest: int, now: float) -> int:
        """How many of these rows are the first closed window; 0 when more may come.

        A day never goes back: rows whose clock was wrong, or that came late, belong to the day in which
        they arrived, and rows of the future to today.
        """
        most = max(self.rows, smallest)
        if self.days:
            days = np.maximum.accumulate(self._day(np.minimum(time, now)))
            ends = np.flatnonzero(np.diff(days)) + 1
            most = min([*ends[ends >= smallest][:1].tolist(), LARGEST])
        return most if most <= len(time) else 0

    def over(self, rows: int, last: float, smallest: int, now: float) -> bool:
        """Whether a window is over that ends with the newest row of all."""
        full = rows >= max(self.rows, smallest)
        return full and (not self.days or bool(self._day(last) < self._day(now)))

    def _day(self, time: Any) -> Any:
        return np.floor_divide(time, DAY * self.days)


def moment(time: float) -> str:
    """Seconds since 1970 as the log writes a time."""
    return to_text(datetime.datetime.fromtimestamp(float(time), datetime.UTC))


def cut(
    parts: Iterable[Rows], size: Size, smallest: int, now: float
) -> Iterator[tuple[Rows, bool]]:
    """Divide rows into windows; the last one may be open, which the second value says.

    Parameters
    ----------
    parts : iterable of Rows
        In the order of their arrival.
    size : Size
        Of the windows.
    smallest : int
        Rows that a window needs; those with fewer are pooled with the next ones.
    now : float
        Seconds since 1970.
    """
    held: Any = None
    for part in parts:
        held = part if held is None else np.concatenate([held, part]).view(np.recarray)
        while end := size.end(held.time, smallest, now):
            yield held[:end], True
            held = held[end:]
    if held is not None and len(held):
        yield held, size.over(len(held), float(held.time.max()), smallest, now)
