"""Read the log: predictions as a stream of arrays, or as a table with ground truth."""

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
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

PREDICTED = (
    *(PREDICTIONS.c.id, sa.cast(PREDICTIONS.c.features, sa.Text)),
    *(PREDICTIONS.c.value, PREDICTIONS.c.lower, PREDICTIONS.c.upper),
)
"""What a chunk is made of, beside a number of arrival."""

_EVENTS = LABEL_EVENTS.alias()
LATEST = (
    sa.select(sa.func.max(_EVENTS.c.seq))
    .where(_EVENTS.c.prediction_id == PREDICTIONS.c.id)
    .scalar_subquery()
)
"""The number of a prediction's latest label."""


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
    number = PREDICTIONS.c.arrival
    statement = sa.select(number, *PREDICTED).where(number > after, *_asked(period, wanted))
    yield from _parts(database, statement.order_by(number), partial(_chunk, contract))


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
    label = LABEL_EVENTS.c
    truth = label.value, label.received, label.observed_at, label.source
    statement = (
        sa.select(label.seq, *PREDICTED, *truth)
        .join_from(LABEL_EVENTS, PREDICTIONS, label.prediction_id == PREDICTIONS.c.id)
        .where(label.seq > after, label.seq == LATEST)
        .where(*_asked(period, wanted | {"role": "champion"}))
        .order_by(label.seq)
    )
    yield from _parts(database, statement, partial(_labelled, contract))


def _asked(period: Period | None, wanted: Mapping[str, str]) -> list[sa.ColumnElement[bool]]:
    """The conditions on predictions."""
    columns = PREDICTIONS.c
    within = [] if period is None else [period.holds(columns.id)]
    return [*within, *(columns[name] == value for name, value in wanted.items())]


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
        for part in (newest.limit(last), newest.offset(last)):
            count = sa.func.avg(sa.cast(part.subquery().c.held, sa.Integer))
            shares.append(connection.scalar(sa.select(count)))
    now, before = shares
    return float(1 if now is None else now), float(before or 0)


def _chunk(
    contract: Contract, numbers: Any, ids: tuple[str, ...], texts: Iterable[str], *answer: Any
) -> Chunk:
    rows = msgspec.json.decode(f"[{','.join(texts)}]")
    table = pd.DataFrame(rows, columns=contract.names)  # a column that was not logged is null
    encoded = masks(contract.features, {name: table[name].to_numpy() for name in contract.names})
    arrays = (np.array(values, dtype=np.float64) for values in answer)
    return Chunk(ids, np.array(numbers), encoded.array, encoded.unusual, *arrays)


def _seconds(moments: Iterable[str | None]) -> Array:
    """Moments as seconds since 1970; None is NaN."""
    known = [datetime.datetime.fromisoformat(one).timestamp() if one else np.nan for one in moments]
    return np.array(known, np.float64)


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
    label = LABEL_EVENTS.c
    truth = label.value.label("label"), label.observed_at, label.source.label("label_source")
    statement = (
        sa.select(PREDICTIONS, *truth, label.seq)
        .join_from(PREDICTIONS, LABEL_EVENTS, label.seq == LATEST, isouter=not labelled)
        .where(*_asked(period, wanted))
        .order_by(PREDICTIONS.c.id, PREDICTIONS.c.role)
    )
    with database.begin(only_read=True) as connection:
        found = pd.read_sql(statement, connection, dtype={"label": "float64"})
    for name in ("at", "observed_at"):
        found[name] = pd.to_datetime(found[name], utc=True, format="ISO8601")
    return found
