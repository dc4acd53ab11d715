"""Windows: how rows that arrive one after the other are divided, and which windows are closed."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mlref.core.contract import Contract
from mlref.core.errors import MlrefError
from mlref.core.rows import Array, Mask
from mlref.prediction_log.ids import seconds
from mlref.prediction_log.reader import Chunk, LabelledChunk

DAY = 86_400
LARGEST = 200_000
"""Rows of a window at most, which bounds memory; a day with more rows has several windows."""


@dataclass(frozen=True)
class Rows:
    """Some rows of the log as arrays of length n.

    Parameters
    ----------
    position : ndarray of int64
        Numbers of arrival: of the prediction, or of the label.
    time : ndarray of float64
        When it was predicted, or when the label arrived; seconds since 1970.
    predicted : ndarray of float64
        When it was predicted, seconds since 1970.
    rows : ndarray of float64, shape (n, features)
        Encoded features.
    unusual : ndarray of bool, shape (n, features)
        Values outside of the expected ranges.
    value, lower, upper : ndarray of float64
        What was answered, target units.
    label : ndarray of float64
        Ground truth, target units; NaN in the stream of inputs.
    observed : ndarray of float64
        When the source says that it was measured, seconds since 1970, or NaN.
    source : ndarray of str
        Who sent the label.
    """

    position: NDArray[np.int64]
    time: Array
    predicted: Array
    rows: Array
    unusual: Mask
    value: Array
    lower: Array
    upper: Array
    label: Array
    observed: Array
    source: NDArray[np.str_]

    def part(self, start: int, end: int) -> Self:
        """Some of the rows."""
        return self.where(slice(start, end))

    def where(self, which: Any) -> Self:
        """Those of the rows that an index of NumPy takes."""
        return type(self)(*(getattr(self, one.name)[which] for one in fields(self)))

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.position)


def of_inputs(chunk: Chunk) -> Rows:
    """Predictions as rows, with nothing known of the truth."""
    predicted = seconds(chunk.ids)
    nothing, nobody = np.full(len(predicted), np.nan), np.full(len(predicted), "")
    return Rows(
        chunk.arrivals, predicted, predicted, chunk.rows, chunk.unusual,
        chunk.value, chunk.lower, chunk.upper, nothing, nothing, nobody,
    )  # fmt: skip


def of_labels(found: LabelledChunk) -> Rows:
    """Labels as rows, in the time of their arrival; a prediction without a value has no loss."""
    sources = np.array([source or "" for source in found.sources])
    rows = replace(
        of_inputs(found.chunk),
        time=found.received, label=found.label, observed=found.observed, source=sources,
    )  # fmt: skip
    return rows.where(np.isfinite(rows.value))


@dataclass(frozen=True)
class Size:
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
        if match := re.fullmatch(r"([1-9]\d{0,3})d", text):
            return cls(days=int(match[1]))
        if re.fullmatch(r"[1-9]\d{0,8}", text):
            return cls(rows=min(int(text), LARGEST))
        raise MlrefError(
            f"A window is a number of days such as 1d, or of rows such as 200, not {text!r}."
        )

    def __str__(self) -> str:
        """As it was asked for."""
        return f"{self.days}d" if self.days else str(self.rows)

    def bins(self, now: float) -> Callable[[Array], NDArray[np.int64]]:
        """Make a function that numbers the windows of rows that come one part after the other.

        A day never goes back: rows whose clock was wrong, or that came late, belong to the day in which
        they arrived, and rows of the future to today.
        """
        seen, newest = 0, 0

        def number(time: Array) -> NDArray[np.int64]:
            """Number the windows of the next rows by their times."""
            nonlocal seen, newest
            if self.rows:
                bins = (seen + np.arange(len(time))) // self.rows
                seen += len(time)
                return bins
            days = (np.minimum(time, now) // (DAY * self.days)).astype(np.int64)
            bins = np.maximum.accumulate(np.maximum(days, newest))
            newest = int(bins[-1]) if len(bins) else newest
            return bins

        return number

    def over(self, rows: int, last: float, now: float) -> bool:
        """Whether a window is over that ends with the newest row of all."""
        return (
            rows >= self.rows if self.rows else last // (DAY * self.days) < now // (DAY * self.days)
        )


def cut(
    parts: Iterable[Rows], size: Size, smallest: int, now: float
) -> Iterator[tuple[Rows, bool]]:
    """Divide rows into windows; the last one may be open, which the second value says.

    Windows with fewer rows than ``smallest`` are pooled with the next ones.

    Parameters
    ----------
    parts : iterable of Rows
        In the order of their arrival.
    size : Size
        Of the windows.
    smallest : int
        Rows that a window needs.
    now : float
        Seconds since 1970; a day that is not over is open.
    """
    number, held, count, current = size.bins(now), list[Rows](), 0, 0
    for part in parts:
        bins = number(part.time)
        ends = [*(np.flatnonzero(np.diff(bins)) + 1).tolist(), part.count]
        start = 0
        for end in ends:
            while start < end:
                if held and (count >= LARGEST or (bins[start] != current and count >= smallest)):
                    yield joined(held), True
                    held, count = [], 0
                stop = min(end, start + LARGEST - count)
                held.append(part.part(start, stop))
                count, current, start = count + stop - start, int(bins[start]), stop
    if held:
        last = joined(held)
        # a window of the largest size counts as full, whatever its day
        yield last, count >= smallest and size.over(count, float(last.time.max()), now)


def none(contract: Contract) -> Rows:
    """No rows, for a time in which all were rejected."""
    empty, features = np.empty(0), np.empty((0, len(contract.features)))
    chunk = Chunk((), np.empty(0, np.int64), features, features > 0, empty, empty, empty)
    return of_inputs(chunk)


def joined(parts: list[Rows]) -> Rows:
    """Put rows together again."""
    if len(parts) == 1:
        return parts[0]
    names = (one.name for one in fields(Rows))
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
