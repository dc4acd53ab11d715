"""Records and databases that tests of the log share."""

import contextlib
import datetime
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import sqlalchemy as sa

from mlref.core.errors import Violation
from mlref.core.storage import Project
from mlref.prediction_log.database import Database
from mlref.prediction_log.ids import lowest, new_ids
from mlref.prediction_log.reader import Period
from mlref.prediction_log.records import LoggedModel, Predicted, Refused
from mlref.prediction_log.schema import METADATA
from mlref.prediction_log.writer import open_log
from tests.fakes import CONTRACT

MODEL = LoggedModel("3", "d1ge57", CONTRACT)
OTHER = LoggedModel("4", "07he2", CONTRACT)
ALWAYS = Period(
    datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC),
    datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC),
)
NOON = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
PATIENCE = 60.0
"""Seconds; generous, as it only bounds a hang on a busy machine."""


def predicted(count: int = 1, **fields: Any) -> Predicted:
    """An answered request with ``count`` rows, the first of which has value 100."""
    value = 100.0 + np.arange(count)
    rows = np.tile([70.5, 3.0, 1.0, np.nan], (count, 1))
    record = Predicted(MODEL, new_ids(count), rows, value, value - 80, value + 80)
    return record._replace(**fields)


def at(moment: datetime.datetime, number: int = 0) -> str:
    """An id of a moment; ``number`` tells those of one moment apart."""
    return f"{lowest(moment)[:-2]}{number:02x}"


def refused(*columns: str | None, allowed: str = "something else") -> Refused:
    """A rejected request, with a violation for each column."""
    return Refused(MODEL, [Violation(0, name, "a value", allowed) for name in columns])


def write(project: Project, *records: Predicted | Refused) -> None:
    """Log records one after the other."""
    with open_log(project) as log:
        for record in records:
            (log.refusals if isinstance(record, Refused) else log.predictions)(record)
            assert log.flush(PATIENCE)
    assert log.dropped == 0


def rows(database: Database, table: str = "predictions") -> list[dict[str, Any]]:
    """All rows of a table, by number."""
    wanted = METADATA.tables[table]
    with database.begin(only_read=True) as connection:
        found = connection.execute(sa.select(wanted).order_by(*wanted.primary_key))
        return [dict(row) for row in found.mappings()]


def moment(value: Any) -> datetime.datetime:
    """A moment that SQLite gives as text."""
    return datetime.datetime.fromisoformat(str(value))


def ids(database: Database) -> list[str]:
    """The ids of its predictions, sorted."""
    return sorted(row["id"] for row in rows(database))


@contextlib.contextmanager
def locked(project: Project) -> Iterator[None]:
    """Another process writes to the log's file, and does not end."""
    with contextlib.closing(sqlite3.connect(project.log, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("COMMIT")


def together(*acts: Callable[[], Any]) -> list[Any]:
    """Do several things at once, each of which must succeed; what they give."""
    with ThreadPoolExecutor(len(acts)) as pool:
        return [one.result() for one in [pool.submit(act) for act in acts]]


def until(happened: Callable[[], bool]) -> None:
    """Wait for something, or fail."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
