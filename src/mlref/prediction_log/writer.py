"""Write the log off the request path: a bounded queue, and a thread that takes batches from it.

While the database is away, rows go to a second SQLite file with the same tables, the *fallback*, and
are copied back once it is there again. A row has its id from the start, and a database passes over
an id that it has: whatever is written twice is there once.
"""

import contextlib
import itertools
import logging
import threading
import time
from collections import deque

import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError

from mlref.core.errors import EnvironmentFault, MlrefError
from mlref.core.storage import Project
from mlref.prediction_log.database import Database
from mlref.prediction_log.encode import encode
from mlref.prediction_log.records import Predicted, Refused
from mlref.prediction_log.schema import PREDICTIONS, REFUSALS, Rows, insert

CAPACITY = 50_000
"""Rows that may wait in memory, about 40 MB; a writer that is so far behind drops what comes."""
BATCH = 128
"""Requests of one transaction; few, since encoding them holds up the next requests for as long."""
INTERVAL = 0.1
"""Seconds between two turns: with the writing itself, a killed process loses at most 0.2."""
RETRY = 1.0
"""Seconds after which an unavailable database is tried again."""
COPIED = 1_000
"""Rows that are copied back in one transaction."""
PATIENCE = 20.0
"""Seconds in which the end of a service must have written what waits."""

_LOG = logging.getLogger("mlref.prediction_log")


class Writer(contextlib.AbstractContextManager["Writer"]):
    """The log of a running service; ends with :meth:`close`, or as a context manager.

    Parameters
    ----------
    database : Database
        Where rows belong.
    fallback : Database
        Where they wait while it is away; processes may share it.
    capacity : int
        Rows that may wait in memory, those that are being written among them.

    Attributes
    ----------
    written : int
        Rows that this process has put into the database.
    dropped : int
        Rows that were not logged: the queue was full or closed, or nothing could be written until the end.
    rejected : int
        Rows that the database refused and that are kept in the fallback.
    queue_length : int
        Rows that wait in memory or are being written.
    """

    def __init__(self, database: Database, fallback: Database, capacity: int = CAPACITY) -> None:
        self.database, self.fallback, self.capacity = database, fallback, capacity
        self.written = self.dropped = self.rejected = self.queue_length = self._accepted = 0
        self._queue: deque[Predicted | Refused] = deque()
        self._settled, self._wake, self._closing = threading.Condition(), threading.Event(), False
        self._fault: EnvironmentFault | None = None
        self._away, self._retry_at = False, 0.0
        self._kept = {PREDICTIONS: 0, REFUSALS: 0}  # where refused rows end in the fallback
        self._refusal: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def predictions(self, predicted: Predicted) -> None:
        """Log answered rows; see :class:`mlref.prediction_log.records.PredictionLog`."""
        self._put(predicted)

    def refusals(self, refused: Refused) -> None:
        """Log rejected inputs."""
        self._put(refused)

    def _put(self, record: Predicted | Refused) -> None:
        rows = _size(record)
        with self._settled:
            if self.queue_length + rows > self.capacity or self._closing:
                self.dropped += rows
                return
            self.queue_length += rows
            self._accepted += rows
            self._queue.append(record)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all rows so far are in the database or the fallback.

        Returns
        -------
        bool
            False when ``timeout`` (seconds) passed first.
        """
        with self._settled:
            before = self._accepted
            self._wake.set()
            return self._settled.wait_for(
                lambda: self._accepted - self.queue_length >= before, timeout
            )

    def close(self, timeout: float = PATIENCE) -> None:
        """Write what waits and end the thread. A signal's handler must not call it.

        Parameters
        ----------
        timeout : float
            Seconds after which a database that neither takes rows nor refuses them is given up.

        Raises
        ------
        EnvironmentFault
            When rows are lost because nothing could be written; it counts them.
        """
        with self._settled:
            self._closing = True
        self._wake.set()
        self._thread.join(timeout)
        lost: int = self.dropped + self.queue_length
        hangs = TimeoutError(f"{self.database.name} hangs") if self._thread.is_alive() else None
        if (fault := self._fault or hangs) and lost:
            raise EnvironmentFault(f"{lost:,} rows of the prediction log are lost", fault, "")

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _run(self) -> None:
        ending = False
        while not ending:
            self._wake.wait(INTERVAL)
            self._wake.clear()
            ending = self._closing  # nothing is accepted any more: this is the last turn
            try:
                while self._write() and (ending or len(self._queue) >= BATCH):
                    pass
                self._fault = None
                while not ending and self._copy_back() and not self._queue:
                    pass
            except EnvironmentFault as fault:
                if not self._fault:
                    _LOG.error("%s Rows wait in memory, and %d fit there.", fault, self.capacity)
                self._fault = fault
        self.dropped += self.queue_length
        self._settle(len(self._queue))
        self.database.close()
        self.fallback.close()

    def _write(self) -> bool:
        """Write a batch; whether there was one. EnvironmentFault when nothing takes it."""
        with self._settled:  # a request may add to the queue at any moment
            records = [*itertools.islice(self._queue, BATCH)]
        if not records:
            return False
        try:
            self._store(encode(records))
        except EnvironmentFault:
            raise
        except Exception:  # a mistake of ours must not end the log
            self.dropped += sum(map(_size, records))
            _LOG.exception("Some rows of the prediction log cannot be written.")
        self._settle(len(records))
        return True

    def _settle(self, records: int) -> None:
        with self._settled:
            self.queue_length -= sum(_size(self._queue.popleft()) for _ in range(records))
            self._settled.notify_all()

    def _store(self, rows: Rows) -> None:
        """Write rows to the database or, when it is away or refuses one of them, to the fallback."""
        if time.monotonic() >= self._retry_at:
            with contextlib.suppress(MlrefError):
                if self._insert(rows):
                    return
        with self.fallback.begin() as connection:
            insert(connection, rows)

    def _insert(self, rows: Rows) -> bool:
        """Write rows to the database; False when it refuses one of them. MlrefError when it is away."""
        try:
            with self.database.begin() as connection:
                insert(connection, rows)
        except (IntegrityError, DataError) as error:
            self._refusal = error.orig
            return False
        except MlrefError as error:
            if not self._away:
                _LOG.warning("%s Rows wait in %s.", error, self.fallback.file)
            self._away, self._retry_at = True, time.monotonic() + RETRY
            raise
        self._away = False
        self.written += sum(map(len, rows.values()))  # a commit whose answer was lost is not lost
        return True

    def _copy_back(self) -> bool:
        """Copy the oldest rows of the fallback to the database; whether there were any."""
        if time.monotonic() >= self._retry_at:
            with contextlib.suppress(MlrefError):
                return any(self._move(table) for table in self._kept)
        return False

    def _move(self, table: sa.Table) -> bool:
        oldest = f"SELECT * FROM {table.name} WHERE arrival > ? ORDER BY arrival LIMIT ?"
        with self.fallback.begin(only_read=True) as connection:
            found = connection.exec_driver_sql(oldest, (self._kept[table], COPIED))
            rows = {number: tuple(row) for number, *row in found}
        if not rows:
            return False
        refused = set[int]()
        if not self._insert({table: [*rows.values()]}):
            refused = {number for number in rows if not self._insert({table: [rows[number]]})}
        if refused:
            self._kept[table] = max(refused)
            self.rejected += len(refused)
            where = self.database.name, len(refused), self.fallback.file
            _LOG.error("%s refuses %d rows, kept in %s: %s", *where, self._refusal)
        with self.fallback.begin() as connection:
            moved = table.c.arrival.in_(rows.keys() - refused)
            connection.execute(table.delete().where(moved))
        return True


def _size(record: Predicted | Refused) -> int:
    return len(record.ids if isinstance(record, Predicted) else record.violations)


def open_log(project: Project) -> Writer:
    """Open the database of MLREF_LOG_URL or the clone's file, and the fallback in MLREF_LOG_SPOOL.

    A database that cannot be reached now is warned of: rows wait for it.

    Raises
    ------
    PredictionLogError
        For text that is no URL, or tables of a newer version.
    EnvironmentFault
        When the fallback cannot be written.
    """
    database, fallback = Database.of(project), Database.fallback(project)
    try:
        project.spool.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(f"MLREF_LOG_SPOOL: {project.spool} cannot be used", error) from error
    fallback.check()
    try:
        database.check()
    except EnvironmentFault as error:
        _LOG.warning("%s Rows wait in %s.", error, fallback.file)
    return Writer(database, fallback)
