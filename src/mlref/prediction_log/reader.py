"""Read the log: predictions as a stream of arrays, or as a table with ground truth."""

import datetime
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from mlref.core.contract import Contract
from mlref.core.rows import Array, Mask, masks
from mlref.prediction_log.database import Database
from mlref.prediction_log.ids import lowest
from mlref.prediction_log.schema import LABEL_EVENTS, PREDICTIONS

CHUNK = 20_000
"""Rows of one chunk of a stream."""


class Period(NamedTuple):
    """A time from ``start`` until just before ``end``, both with a time zone; to the millisecond."""

    start: datetime.datetime
    end: datetime.datetime

    def holds(self, name: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        """Say in SQL that an id was made in it; such ids are a range of the index."""
        return sa.and_(name >= lowest(self.start), name < lowest(self.end))


class Chunk(NamedTuple):
    """Some predictions as arrays of n rows.

    Parameters
    ----------
    ids : tuple of str
        One of each row.
    arrivals : ndarray of int64, shape (n,)
        Numbers of arrival, rising.
    rows : ndarray of float64, shape (n, features)
        As encoded by ``mlref.core.rows``; a value that the contract does not allow is NaN.
    unusual : ndarray of bool, shape (n, features)
        Values outside of the contract's expected ranges.
    value, lower, upper : ndarray of float64, shape (n,)
        In the unit of the target; NaN where there is no interval.
    """

    ids: tuple[str, ...]
    arrivals: NDArray[np.int64]
    rows: Array
    unusual: Mask
    value: Array
    lower: Array
    upper: Array

    @property
    def last(self) -> int:
        """The number of arrival of the last row."""
        return int(self.arrivals[-1])


class LabelledChunk(NamedTuple):
    """Some labels, each with the champion's prediction that it is about, as arrays of n rows.

    Parameters
    ----------
    chunk : Chunk
        The predictions; ``arrivals`` are the labels' own numbers.
    label : ndarray of float64, shape (n,)
        Ground truth, in the unit of the target.
    received, observed : ndarray of float64, shape (n,)
        When the label arrived, and when its source says that it was measured (else NaN), in seconds
        since 1970.
    sources : tuple of str or None
        Who sent each label.
    """

    chunk: Chunk
    label: Array
    received: Array
    observed: Array
    sources: tuple[str | None, ...]


def stream(
    database: Database,
    contract: Contract,
    after: int = 0,
    period: Period | None = None,
    **wanted: str,
) -> Iterator[Chunk]:
    """Read predictions by arrival, in chunks and in little memory.

    Parameters
    ----------
    database : Database
        The log's.
    contract : Contract
        Encodes the features.
    after : int
        Only rows that arrived after this number. With the ``last`` of an earlier reading that is
        everything new, also rows that were predicted before and came late.
    period : Period, optional
        Only rows that were predicted then.
    **wanted : str
        Values of ``version``, ``digest``, ``role``, ``source`` or ``subject``.

    Raises
    ------
    EnvironmentFault
        When the database cannot be reached.
    """
    columns = PREDICTIONS.c
    statement = (
        sa.select(
            columns.arrival, columns.id, sa.cast(columns.features, sa.Text),
            columns.value, columns.lower, columns.upper,
        )
        .where(columns.arrival > after, *(columns[name] == wanted[name] for name in wanted))
        .order_by(columns.arrival)
    )  # fmt: skip
    if period is not None:
        statement = statement.where(period.holds(columns.id))
    yield from _parts(database, statement, partial(_chunk, contract))


def stream_labels(
    database: Database,
    contract: Contract,
    after: int = 0,
    period: Period | None = None,
    **wanted: str,
) -> Iterator[LabelledChunk]:
    """Read ground truth in the order of its own arrival, as :func:`stream` reads predictions.

    Of a label that was corrected only the latest value is read, where it arrived.

    Parameters
    ----------
    after : int
        Only labels that arrived after this number.
    period : Period, optional
        Only labels of predictions that were made then.
    **wanted : str
        Values of ``version``, ``digest``, ``source`` or ``subject`` of the champion's prediction.

    Raises
    ------
    EnvironmentFault
        When the database cannot be reached.
    """
    columns, label, newer = PREDICTIONS.c, LABEL_EVENTS.c, LABEL_EVENTS.alias()
    later = sa.exists().where(newer.c.prediction_id == columns.id, newer.c.seq > label.seq)
    statement = (
        sa.select(
            label.seq, columns.id, sa.cast(columns.features, sa.Text),
            columns.value, columns.lower, columns.upper,
            label.value, label.received, label.observed_at, label.source,
        )
        .join_from(LABEL_EVENTS, PREDICTIONS, label.prediction_id == columns.id)
        .where(label.seq > after, columns.role == "champion", ~later)
        .where(*(columns[name] == wanted[name] for name in wanted))
        .order_by(label.seq)
    )  # fmt: skip
    if period is not None:
        statement = statement.where(period.holds(columns.id))
    yield from _parts(database, statement, partial(_labelled, contract))


def _parts(
    database: Database, statement: sa.Select[Any], make: Callable[..., Any]
) -> Iterator[Any]:
    """What is made of the columns of each part of a result."""
    with database.begin(only_read=True) as connection:
        found = connection.execution_options(yield_per=CHUNK).execute(statement)
        for part in found.partitions():
            yield make(*zip(*part, strict=True))


def _labelled(contract: Contract, *columns: Any) -> LabelledChunk:
    *predicted, labels, received, observed, sources = columns
    moments = _seconds(received), _seconds(observed)
    return LabelledChunk(
        _chunk(contract, *predicted), np.array(labels, np.float64), *moments, sources
    )


def labelled_share(database: Database, digest: str, until: str, last: int) -> tuple[float, float]:
    """Share of a model's served predictions that have a label.

    Parameters
    ----------
    digest : str
        Of the model.
    until : str
        Id of the newest prediction that counts.
    last : int
        How many predictions are new.

    Returns
    -------
    now, before : float
        Of the new ones, and of all before them; 1 and 0 where there is none.
    """
    columns = PREDICTIONS.c
    labelled = sa.exists().where(LABEL_EVENTS.c.prediction_id == columns.id)
    ours = sa.select(labelled.label("held")).where(
        columns.digest == digest, columns.role == "champion", columns.source == "serve",
        columns.id <= until,
    )  # fmt: skip
    newest = ours.order_by(columns.id.desc())
    shares = []
    with database.begin(only_read=True) as connection:
        for part in (newest.limit(last), newest.limit(-1).offset(last)):
            count = sa.func.avg(sa.cast(part.subquery().c.held, sa.Integer))
            shares.append(connection.scalar(sa.select(count)))
    now, before = shares
    return float(1 if now is None else now), float(before or 0)


def _chunk(
    contract: Contract, numbers: Any, ids: tuple[str, ...], texts: Iterable[str], *answer: Any
) -> Chunk:
    rows = _decoder(contract.names).decode(f"[{','.join(texts)}]")
    cells = np.array([*map(msgspec.structs.astuple, rows)], object)
    table = {
        one.name: values.astype(np.float64) if one.is_number else values
        for one, values in zip(contract.features, cells.T, strict=True)
    }
    encoded = masks(contract.features, table)
    arrays = (np.array(values, dtype=np.float64) for values in answer)
    return Chunk(ids, np.array(numbers), encoded.array, encoded.unusual, *arrays)


@lru_cache(maxsize=8)
def _decoder(names: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """Rows as tuples in the order of the columns, null where one is missing: half the time of mappings."""
    fields = [
        (f"_{at}", Any, msgspec.field(name=name, default=None)) for at, name in enumerate(names)
    ]
    return msgspec.json.Decoder(list[msgspec.defstruct("Features", fields, gc=False)])  # type: ignore[misc]


def _seconds(moments: Iterable[datetime.datetime | str | None]) -> Array:
    """Moments as seconds since 1970; SQLite gives them as text, and None is NaN."""
    known = (
        datetime.datetime.fromisoformat(str(one)).timestamp() if one else np.nan for one in moments
    )
    return np.array([*known], np.float64)


def read(database: Database, period: Period, labelled: bool = False, **wanted: str) -> pd.DataFrame:
    """Read the predictions of a period as a table, in the order of their ids, with their latest labels.

    Parameters
    ----------
    database : Database
        The log's.
    period : Period
        When they were made.
    labelled : bool
        Whether those without a label are left out.
    **wanted : str
        Values of ``version``, ``digest``, ``role``, ``source`` or ``subject``.

    Returns
    -------
    DataFrame, shape (n, 20)
        The fields of the log, ``features`` as mappings; ``label``, ``observed_at``, ``label_source`` and
        ``seq`` (the label's own number) are null where nothing is known yet.

    Raises
    ------
    EnvironmentFault
        When the database cannot be reached.
    """
    columns, label, newer = PREDICTIONS.c, LABEL_EVENTS.c, LABEL_EVENTS.alias()
    latest = sa.select(sa.func.max(newer.c.seq)).where(newer.c.prediction_id == columns.id)
    statement = (
        sa.select(
            PREDICTIONS, label.value.label("label"), label.observed_at,
            label.source.label("label_source"), label.seq,
        )
        .join_from(
            PREDICTIONS, LABEL_EVENTS, label.seq == latest.scalar_subquery(), isouter=not labelled
        )
        .where(period.holds(columns.id), *(columns[name] == wanted[name] for name in wanted))
        .order_by(columns.id, columns.role)
    )  # fmt: skip
    with database.begin(only_read=True) as connection:
        found = pd.read_sql(statement, connection, dtype={"label": "float64"})
    for name in ("at", "observed_at"):
        found[name] = pd.to_datetime(found[name], utc=True, format="ISO8601")
    return found
