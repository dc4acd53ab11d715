"""Delete from the log: rows older than so many days, and rows about one person."""

import contextlib
import datetime
from collections.abc import Mapping

import sqlalchemy as sa

from mlref.console import Agreed
from mlref.core.storage import Project
from mlref.prediction_log.database import Database
from mlref.prediction_log.ids import lowest
from mlref.prediction_log.schema import LABEL_EVENTS, PREDICTIONS, REFUSALS

AT_ONCE = 5_000
"""Rows of one transaction, so that the writer need not wait for long."""

Condition = Mapping[sa.Table, sa.ColumnElement[bool]]


def prune(project: Project, days: int, agreed: Agreed) -> str | None:
    """Delete rows older than so many days, also those that wait in the fallback.

    In SQLite deleted content is overwritten, also in the journal. A second call goes on where one that
    failed stopped.

    Returns
    -------
    str or None
        A sentence, or None where ``agreed`` refused the counts.

    Raises
    ------
    PredictionLogError
        When the prediction log is of a newer version, or its URL is none.
    EnvironmentFault
        When the database cannot be reached.
    """
    moment = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days)
    bound = lowest(moment)
    condition = {
        # Labels go first: without its prediction a label is never found again.
        LABEL_EVENTS: LABEL_EVENTS.c.prediction_id < bound,
        PREDICTIONS: PREDICTIONS.c.id < bound,
        REFUSALS: REFUSALS.c.id < bound,
    }
    return _clear(project, condition, f"from before {moment:%Y-%m-%d %H:%M} UTC", agreed)


def erase(project: Project, subject: str, agreed: Agreed) -> str | None:
    """Delete the predictions for one subject and their labels; otherwise as :func:`prune`."""
    own = PREDICTIONS.c.subject == subject
    named = sa.select(PREDICTIONS.c.id).where(own)
    condition = {LABEL_EVENTS: LABEL_EVENTS.c.prediction_id.in_(named), PREDICTIONS: own}
    return _clear(project, condition, f"about the subject {subject}", agreed)


def _clear(project: Project, condition: Condition, what: str, agreed: Agreed) -> str | None:
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(contextlib.closing(Database.of(project)))
        fallback = stack.enter_context(contextlib.closing(Database.fallback(project)))
        # the fallback first: its rows could be copied back meanwhile
        places = [one for one in (fallback, database) if not one.file or one.file.exists()]
        if not places:
            return f"{database.name} does not exist."
        found = {
            table.name: sum(_count(place, table, which) for place in places)
            for table, which in condition.items()
        }
        if not any(found.values()):
            return f"{database.name} holds nothing {what}."
        if not agreed((["table", "rows"], [[name, f"{rows:,}"] for name, rows in found.items()])):
            return None
        return f"Deleted rows: {sum(_delete(place, condition) for place in places):,}."


def _count(database: Database, table: sa.Table, which: sa.ColumnElement[bool]) -> int:
    with database.begin(only_read=True) as connection:
        rows = sa.select(sa.func.count()).select_from(table).where(which)
        return connection.execute(rows).scalar_one()


def _delete(database: Database, condition: Condition) -> int:
    total = 0
    for table, which in condition.items():
        [key] = table.primary_key
        part = table.delete().where(key.in_(sa.select(key).where(which).limit(AT_ONCE)))
        deleted = AT_ONCE
        while deleted == AT_ONCE:
            with database.begin() as connection:
                deleted = connection.execute(part).rowcount
            total += deleted
    database.checkpoint()
    return total
