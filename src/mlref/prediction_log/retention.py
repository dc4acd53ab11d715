"""Delete from the log: what is older than it may be, and what is about one person."""

import contextlib
import datetime
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson
import sqlalchemy as sa

from mlref.core.storage import Project
from mlref.prediction_log.database import Database
from mlref.prediction_log.ids import lowest
from mlref.prediction_log.records import clean
from mlref.prediction_log.schema import LABELS, PREDICTIONS, REFUSALS

AT_ONCE = 5_000
"""Rows of one transaction, so that the writer need not wait for long."""

Condition = Mapping[sa.Table, sa.ColumnElement[bool]]
"""Which rows of which tables."""
Counts = dict[str, int]
"""How many rows, by the name of their table."""


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
    return _clear(project, before(moment), f"from before {moment:%Y-%m-%d %H:%M} UTC", agreed)


def erase(project: Project, subject: str, agreed: Callable[[Counts], bool]) -> str | None:
    """Delete what is about one subject; otherwise as :func:`prune`.

    The sentence names the files of the spool that have more of it: rows that wait for the database, and
    rows that it refused.
    """
    # Looked at first: what a service writes meanwhile is then found in the database.
    held = [path for path in sorted(project.spool.glob("*")) if _names(path, subject)]
    sentence = _clear(project, about(subject), f"about the subject {subject}", agreed)
    if not sentence or not held:
        return sentence
    names = ", ".join(map(project.show, held))
    return (
        f"{sentence}\nMore of it waits in {names}. Let a service write that and ask again; a file"
        " that ends with .corrupt is yours to edit."
    )


def before(moment: datetime.datetime) -> Condition:
    """What was predicted or refused before a moment with a time zone, to the millisecond, and its labels."""
    bound = lowest(moment)
    return {
        # Labels go first: without its prediction a label is never found again.
        LABELS: LABELS.c.prediction_id < bound,
        PREDICTIONS: PREDICTIONS.c.id < bound,
        REFUSALS: REFUSALS.c.id < bound,
    }


def about(subject: str) -> Condition:
    """What was predicted for a subject, and its labels. No index helps: all predictions are read."""
    own = PREDICTIONS.c.subject == clean(subject)
    named = sa.select(PREDICTIONS.c.id).where(own)
    return {LABELS: LABELS.c.prediction_id.in_(named), PREDICTIONS: own}


def count(database: Database, condition: Condition) -> Counts:
    """Count what :func:`delete` would delete."""
    with database.begin(only_read=True) as connection:
        return {
            table.name: connection.scalar(
                sa.select(sa.func.count()).select_from(table).where(which)
            )
            or 0
            for table, which in condition.items()
        }


def delete(database: Database, condition: Condition) -> Counts:
    """Delete rows, table by table.

    In SQLite what is deleted is overwritten, also in the journal. Rows that wait in the spool are not
    touched: they are deleted by the next call after they were replayed.

    Raises
    ------
    EnvironmentFault
        When the database cannot be reached. A second call goes on where this one stopped.
    """
    deleted = {table.name: _delete(database, table, which) for table, which in condition.items()}
    database.checkpoint()
    return deleted


def _delete(database: Database, table: sa.Table, which: sa.ColumnElement[bool]) -> int:
    name, *_ = table.primary_key.columns
    oldest = sa.select(name).where(which).order_by(name).limit(AT_ONCE)
    statement, total = sa.delete(table).where(name.in_(oldest)), 0
    while True:
        with database.begin() as connection:
            deleted = connection.execute(statement).rowcount
        if not deleted:
            return total
        total += deleted


def _clear(
    project: Project, condition: Condition, what: str, agreed: Callable[[Counts], bool]
) -> str | None:
    with contextlib.closing(Database.of(project)) as database:
        if database.file and not database.file.exists():
            return f"{database.name} does not exist."
        found = count(database, condition)
        if not any(found.values()):
            return f"{database.name} holds nothing {what}."
        if not agreed(found):
            return None
        return f"Deleted rows: {sum(delete(database, condition).values()):,}."


def _names(path: Path, subject: str) -> bool:
    """Whether a file of the spool has a row about a subject."""
    with contextlib.suppress(FileNotFoundError):  # a service has written its rows to the database
        return orjson.dumps({"subject": clean(subject)})[1:-1] in path.read_bytes()
    return False
