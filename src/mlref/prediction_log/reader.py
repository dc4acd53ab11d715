"""Read the log as tables: predictions with what turned out true, and refusals by reason."""

import datetime
from typing import Any, NamedTuple

import pandas as pd
import sqlalchemy as sa

from mlref.prediction_log.database import Database
from mlref.prediction_log.ids import lowest
from mlref.prediction_log.records import Role, Source
from mlref.prediction_log.schema import LABELS, PREDICTIONS, REFUSALS


class Period(NamedTuple):
    """A time from ``start`` until just before ``end``, both with a time zone; to the millisecond."""

    start: datetime.datetime
    end: datetime.datetime


class Logged(NamedTuple):
    """Some predictions as two frames with the same n rows: a feature may be called as a field of the log is.

    Parameters
    ----------
    predictions : DataFrame, shape (n, 15)
        The fields of the log but the features; ``label`` and ``observed_at`` are null where nothing
        is known yet.
    features : DataFrame, shape (n, features)
        What the model was given, by the names of its contract.
    """

    predictions: pd.DataFrame
    features: pd.DataFrame


def read(
    database: Database,
    period: Period,
    version: str | None = None,
    digest: str | None = None,
    role: Role | None = None,
    source: Source | None = None,
    subject: str | None = None,
) -> Logged:
    """Read the predictions of a period, in the order of their ids, with their labels.

    Parameters
    ----------
    database : Database
        The log's.
    period : Period
        When they were made.
    version, digest, role, source, subject : str, optional
        Only those of one model, role, source or subject.

    Raises
    ------
    EnvironmentFault
        When the database cannot be reached.
    """
    table = PREDICTIONS.c
    statement = (
        sa.select(PREDICTIONS, LABELS.c.value.label("label"), LABELS.c.observed_at)
        .join_from(PREDICTIONS, LABELS, LABELS.c.prediction_id == table.id, isouter=True)
        .where(*_within(table.id, period))
        .order_by(table.id, table.role)
    )
    wanted = {"version": version, "digest": digest, "role": role, "source": source}
    for name, value in (wanted | {"subject": subject}).items():
        if value is not None:
            statement = statement.where(table[name] == value)
    with database.begin(only_read=True) as connection:
        found = connection.execute(statement)
        names, rows = [*found.keys()], found.all()
    frame = pd.DataFrame.from_records([tuple(row) for row in rows], columns=names)
    features = pd.DataFrame.from_records(frame.pop("features").tolist())
    for name in ("at", "observed_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    for name in ("value", "lower", "upper", "latency", "label"):
        frame[name] = frame[name].astype("float64")
    return Logged(frame, features)


def refusals(database: Database, period: Period) -> pd.DataFrame:
    """Count what was refused in a period.

    Returns
    -------
    DataFrame, columns ``column``, ``reason`` and ``count``
        The most frequent first; ``column`` is null where no column of the contract is meant.
    """
    table = REFUSALS.c
    total = sa.func.sum(table.count).label("count")
    statement = (
        sa.select(table.column, table.reason, total)
        .where(*_within(table.id, period))
        .group_by(table.column, table.reason)
        .order_by(total.desc(), table.column, table.reason)
    )
    with database.begin(only_read=True) as connection:
        rows = [tuple(row) for row in connection.execute(statement)]
    frame = pd.DataFrame.from_records(rows, columns=["column", "reason", "count"])
    return frame.astype({"count": "int64"})


def _within(name: sa.ColumnElement[Any], period: Period) -> tuple[sa.ColumnElement[bool], ...]:
    """Ids of a period, which are a range of the index."""
    return name >= lowest(period.start), name < lowest(period.end)
