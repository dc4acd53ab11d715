"""Where rows go: into the database, or while it is away into the spool, which is replayed later.

A row has its id from the start, and the database passes over an id that it has. So a batch whose
commit was not answered may be written again, and nothing is doubled.
"""

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import DataError, IntegrityError

from mlref.core.errors import EnvironmentFault, PredictionLogError
from mlref.prediction_log.database import Database
from mlref.prediction_log.encode import Batch
from mlref.prediction_log.ids import new_ids
from mlref.prediction_log.schema import METADATA, insertion
from mlref.prediction_log.spool import Spool, lines

RETRY = 1.0
"""Seconds after which a database that was away is tried again."""

_LOG = logging.getLogger("mlref.prediction_log")


class Sink:
    """Writes batches of rows at once, in the thread that asks; batch scoring uses it alone.

    Several threads may share one.

    Parameters
    ----------
    database : Database
        Where rows belong.
    spool : Spool
        Where they wait.
    retry : float
        Seconds.
    clock : callable
        Seconds that only go on.

    Attributes
    ----------
    written, spooled, unfit : int
        Rows that went into the database, into the spool (and from there, later, into the database),
        and that the database or the spool's reader refused.
    """

    def __init__(
        self, database: Database, spool: Spool, retry: float = RETRY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.database, self.spool = database, spool
        self.written = self.spooled = self.unfit = 0
        self._retry, self._clock = retry, clock
        self._try_at = -float("inf")
        self._away = False
        self._lock = threading.Lock()
        self._waiting = True  # an earlier process may have left rows
        dialect = database.engine.dialect
        self._statements = {
            name: str(insertion(table, dialect).compile(dialect=dialect))
            for name, table in METADATA.tables.items()
        }

    def write(self, batch: Batch) -> None:
        """Write rows to the database, or to the spool.

        Raises
        ------
        EnvironmentFault
            When neither takes them. They may be written again.
        """
        with self._lock:
            if self._clock() >= self._try_at and self._reached(batch):
                return
            self.spool.append(batch)
            self.spooled += _count(batch)
            self._waiting = True

    def _reached(self, batch: Batch) -> bool:
        try:
            unfit = self._insert(batch)
        except (EnvironmentFault, PredictionLogError) as error:
            self._lose(error)
            return False
        self._away = False
        self._keep_aside(new_ids(1)[0], lines(unfit))
        return True

    def replay(self) -> bool:
        """Write the oldest file of the spool to the database.

        Returns
        -------
        bool
            Whether there was one and it is done, so that it is worth to ask again.
        """
        with self._lock:
            return self._waiting and self._clock() >= self._try_at and self._replay()

    def _replay(self) -> bool:
        try:
            self.spool.seal()
            files = self.spool.files()
            if not files:
                self._waiting = False
                return False
            found = self.spool.read(files[0])
            unfit = self._insert(found.batch)
            self._keep_aside(files[0].stem, [*found.corrupt, *lines(unfit)])
            files[0].unlink(missing_ok=True)
        except FileNotFoundError:  # another process has replayed it
            return True
        except (EnvironmentFault, PredictionLogError, OSError) as error:
            self._lose(error)
            return False
        self._away = False
        _LOG.info("%s was replayed: %d rows", files[0], _count(found.batch))
        return True

    def _insert(self, batch: Batch) -> Batch:
        """Insert rows; returned are those that the database does not take as they are."""
        if not batch:
            return {}
        try:
            with self.database.begin() as connection:
                for table, rows in batch.items():
                    connection.exec_driver_sql(self._statements[table], rows)
        except (IntegrityError, DataError):
            halves = _halves(batch)
            if not halves:
                return batch
            unfit: Batch = {}
            for half in halves:
                for table, rows in self._insert(half).items():
                    unfit.setdefault(table, []).extend(rows)
            return unfit
        self.written += _count(batch)
        return {}

    def _keep_aside(self, name: str, unfit: list[bytes]) -> None:
        if unfit:
            path = self.spool.set_aside(name, unfit)
            self.unfit += len(unfit)
            _LOG.error(
                "%d rows cannot be written to the database and are kept in %s", len(unfit), path
            )

    def _lose(self, error: Exception) -> None:
        self._try_at = self._clock() + self._retry
        if not self._away:
            _LOG.warning("%s Rows wait in %s.", error, self.spool.folder)
        self._away = True

    def close(self) -> None:
        """Flush the spool to disk and end the connections."""
        try:
            self.spool.seal()
        finally:
            self.database.close()


def _count(batch: Batch) -> int:
    return sum(map(len, batch.values()))


def _halves(batch: Batch) -> list[Batch]:
    """The same rows in two batches; none where there is one row only."""
    rows = [(table, row) for table, part in batch.items() for row in part]
    middle = len(rows) // 2
    halves: list[Batch] = []
    for part in (rows[:middle], rows[middle:]) if middle else ():
        halves.append({})
        for table, row in part:
            halves[-1].setdefault(table, []).append(row)
    return halves
