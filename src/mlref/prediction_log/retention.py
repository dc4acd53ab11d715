"""Retention: delete what is older than it may be."""

import datetime
from typing import NamedTuple

import sqlalchemy as sa

from mlref.prediction_log.database import Database
from mlref.prediction_log.ids import lowest
from mlref.prediction_log.schema import LABELS, PREDICTIONS, REFUSALS

AT_ONCE = 5_000
"""Rows of one transaction, so that the writer need not wait for long."""


class Deleted(NamedTuple):
    """How many rows are gone from each table."""

    predictions: int
    labels: int
    refusals: int


def delete_before(database: Database, moment: datetime.datetime) -> Deleted:
    """Delete what was predicted or refused before a moment, and the labels of these predictions.

    In SQLite what is deleted is overwritten, also in the journal. Rows that wait in the spool are
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
    deleted = Deleted(_delete(database, PREDICTIONS, PREDICTIONS.c.id, bound), labels, refusals)
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
