"""Retention: delete what is older than it may be."""

import contextlib
import datetime
from collections.abc import Callable
from typing import NamedTuple

import sqlalchemy as sa

from mlref.prediction_log.database import Database
from mlref.prediction_log.ids import lowest
from mlref.prediction_log.schema import LABELS, PREDICTIONS, REFUSALS
from mlref.storage import Project

AT_ONCE = 5_000
"""Counts of one transaction, so that the writer need not wait for long."""


class Counts(NamedTuple):
    """How many rows of each table."""

    predictions: int
    labels: int
    refusals: int


def prune(project: Project, days: int, agreed: Callable[[Counts], bool]) -> str | None:
    """Delete what is older than so many days; a sentence, or None where ``agreed`` refused these counts.

    Raises
    ------
    PredictionLogError
        When the prediction log is of another version, or its URL is none.
    EnvironmentFault
        When the database cannot be reached.
    """
    moment = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days)
    with contextlib.closing(Database.of(project)) as database:
        found = count_before(database, moment)
        if not any(found):
            return f"{database.name} holds nothing from before {moment:%Y-%m-%d %H:%M} UTC."
        if not agreed(found):
            return None
        return f"Deleted rows: {sum(delete_before(database, moment)):,}."


def count_before(database: Database, moment: datetime.datetime) -> Counts:
    """Count what :func:`delete_before` would delete."""
    bound = lowest(moment)
    names = (PREDICTIONS.c.id, LABELS.c.prediction_id, REFUSALS.c.id)
    with database.begin(only_read=True) as connection:
        count = sa.select(sa.func.count())
        return Counts(*(connection.scalar(count.where(name < bound)) or 0 for name in names))


def delete_before(database: Database, moment: datetime.datetime) -> Counts:
    """Delete what was predicted or refused before a moment, and the labels of these predictions.

    In SQLite what is deleted is overwritten, also in the journal. Counts that wait in the spool are
    not touched: they are deleted by the next call after they were replayed.

    Parameters
    ----------
    database : Database
        The log's.
    moment : datetime
        With a time zone; to the millisecond.

    Raises
    ------
    EnvironmentFault
        When the database cannot be reached. A second call goes on where this one stopped.
    """
    bound = lowest(moment)
    # Labels go first: without its prediction a label is never found again.
    labels = _delete(database, LABELS, LABELS.c.prediction_id, bound)
    refusals = _delete(database, REFUSALS, REFUSALS.c.id, bound)
    deleted = Counts(_delete(database, PREDICTIONS, PREDICTIONS.c.id, bound), labels, refusals)
    database.checkpoint()
    return deleted


def _delete(database: Database, table: sa.Table, name: sa.Column[str], bound: str) -> int:
    oldest = sa.select(name).where(name < bound).order_by(name).limit(AT_ONCE)
    statement, total = sa.delete(table).where(name.in_(oldest)), 0
    while True:
        with database.begin() as connection:
            count = connection.execute(statement).rowcount
        if not count:
            return total
        total += count
