"""Records, destinations and databases that tests of the log share."""

import contextlib
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from mlref.core.errors import EnvironmentFault, Violation
from mlref.prediction_log.database import Database
from mlref.prediction_log.encode import Batch
from mlref.prediction_log.ids import lowest, new_ids
from mlref.prediction_log.reader import Period
from mlref.prediction_log.records import Model, Predicted, Refused
from mlref.prediction_log.schema import METADATA
from tests.fakes import CONTRACT

MODEL = Model("3", "d1ge57", CONTRACT)
ALWAYS = Period(
    datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC),
    datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC),
)
NOON = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)


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
    """A refused request, with a violation for each column."""
    return Refused(MODEL, [Violation(0, name, "a value", allowed) for name in columns])


def rows(database: Database, table: str = "predictions") -> list[dict[str, Any]]:
    """All rows of a table, in the order of its key."""
    wanted = METADATA.tables[table]
    with database.begin(only_read=True) as connection:
        found = connection.execute(sa.select(wanted).order_by(*wanted.primary_key))
        return [dict(row) for row in found.mappings()]


class Breakable(Database):
    """A database that can be away."""

    away = False
    unanswered = False

    @contextlib.contextmanager
    def begin(self, only_read: bool = False) -> Iterator[sa.Connection]:
        """As of the real one, unless it is away or dies between the commit and the answer to it."""
        if self.away:
            raise EnvironmentFault(f"{self.name} cannot be used", ConnectionError("it is away"))
        with super().begin(only_read) as connection:
            yield connection
        if self.unanswered and not only_read:
            raise EnvironmentFault(f"{self.name} cannot be used", ConnectionError("no answer"))


def breakable(folder: Path) -> Breakable:
    """A file that can be away."""
    return Breakable("sqlite:///log.db", folder)


class Memory:
    """A destination that keeps what it is given, when ``refusal`` allows."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.refusal: Exception | None = None
        self.written, self.closed = 0, False

    def write(self, batch: Batch) -> None:
        """Keep rows."""
        if self.refusal:
            raise self.refusal
        self.batches.append(batch)
        self.written += sum(map(len, batch.values()))

    def replay(self) -> bool:
        """Nothing waits."""
        return False

    def close(self) -> None:
        """Take note."""
        self.closed = True

    @property
    def ids(self) -> list[object]:
        """Ids of the predictions, in the order in which they came."""
        return [row[0] for batch in self.batches for row in batch.get("predictions", ())]
