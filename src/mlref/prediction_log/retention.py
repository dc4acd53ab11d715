"""Delete from the log: rows older than so many days, and rows about one person."""

import datetime
from collections.abc import Callable, Iterator, Mapping

import sqlalchemy as sa

from mlref.core.storage import Project
from mlref.prediction_log.database import Database
from mlref.prediction_log.ids import lowest
from mlref.prediction_log.records import clean
from mlref.prediction_log.schema import LABEL_EVENTS, PREDICTIONS, REFUSALS

AT_ONCE = 5_000
"""Rows of one transaction, so that the writer need not wait for long."""

Condition = Mapping[sa.Table, sa.ColumnElement[bool]]
Counts = dict[str, int]
"""Numbers of rows by table."""


def prune(project: Project, days: int, agreed: Callable[[Counts], bool]) -> str | None:
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


def erase(project: Project, subject: str, agreed: Callable[[Counts], bool]) -> str | None:
    """Delete the predictions for one subject and their labels; otherwise as :func:`prune`."""
    own = PREDICTIONS.c.subject == clean(subject)
    named = sa.select(PREDICTIONS.c.id).where(own)
    condition = {LABEL_EVENTS: LABEL_EVENTS.c.prediction_id.in_(named), PREDICTIONS: own}
    return _clear(project, condition, f"about the subject {subject}", agreed)


def _clear(
    project: Project, condition: Condition, what: str, agreed: Callable[[Counts], bool]
) -> str | None:
    both = [Database.of(project), Database.fallback(project)]
    places = [place for place in both if place.file is None or place.file.exists()]
    try:
        if not places:
            return f"{both[0].name} does not exist."
        found = dict.fromkeys((table.name for table in condition), 0)
        for place in places:
            for name, rows in _count(place, condition):
                found[name] += rows
        if not any(found.values()):
            return f"{both[0].name} holds nothing {what}."
        if not agreed(found):
            return None
        return f"Deleted rows: {sum(_delete(place, condition) for place in reversed(places)):,}."
    finally:
        for place in both:
            place.close()


def _count(database: Database, condition: Condition) -> Iterator[tuple[str, int]]:
    with database.begin(only_read=True) as connection:
        for table, which in condition.items():
            rows = sa.select(sa.func.count()).select_from(table).where(which)
            yield table.name, connection.execute(rows).scalar_one()


def _delete(database: Database, condition: Condition) -> int:
    total = 0
    for table, which in condition.items():
        key, *_ = table.primary_key.columns
        oldest = sa.select(key).where(which).order_by(key).limit(AT_ONCE)
        deleted = AT_ONCE
        while deleted:
            with database.begin() as connection:
                deleted = connection.execute(
                    sa.delete(table).where(key.in_(oldest), which)
                ).rowcount
            total += deleted
    database.checkpoint()
    return total
