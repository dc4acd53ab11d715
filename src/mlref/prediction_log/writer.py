"""Write the log off the request path: a bounded queue, and a thread that takes batches from it.

While the database is away, rows go to a second SQLite file with the same tables, the *fallback*, and
are copied back once it is there again. A row has its id from the start, and a database passes over
an id that it has: whatever is written twice is there once.
"""

import itertools
import logging
import threading
import time
from collections import deque
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError

from mlref.core.errors import EnvironmentFault, PredictionLogError
from mlref.prediction_log.database import Database
from mlref.prediction_log.encode import encode
from mlref.prediction_log.records import Predicted, Refused
from mlref.prediction_log.schema import PREDICTIONS, REFUSALS, Rows, insert

CAPACITY = 50_000
"""Rows that may wait in memory, about 40 MB; a writer that is so far behind drops what comes."""
BATCH = 128
"""Requests of one transaction; few, since encoding them holds up the next requests for as long."""
INTERVAL = 0.2
"""Seconds after which it wakes up anyway: a killed process loses the rows of that time."""
RETRY = 1.0
"""Seconds after which an unavailable database is tried again."""
COPIED = 1_000
"""Rows that are copied back in one transaction."""
PATIENCE = 20.0
"""Seconds in which the end of a service must have written what waits."""

_LOG = logging.getLogger("mlref.prediction_log")


class Writer:
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
        Rows that this process has put into the database as it is now: 0 again after its file was deleted.
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
        self._fault: EnvironmentFault | None = None
        self._available, self._retry_at = True, 0.0
        self._waiting, self._copied = True, COPIED  # an earlier process may have left rows
        self._passed: dict[sa.Table, Any] = {PREDICTIONS: 0, REFUSALS: 0}
        self._hurry = self._closing = False
        self._changed = threading.Condition(threading.Lock())
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
        with self._changed:
            if self.queue_length + rows > self.capacity or self._closing:
                self.dropped += rows
                return
            self.queue_length += rows
            self._accepted += rows
            self._queue.append(record)
            if len(self._queue) == BATCH:
                self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all rows so far are in the database or the fallback.

        Returns
        -------
        bool
            False when ``timeout`` (seconds) passed first.
        """
        with self._changed:
            before, self._hurry = self._accepted, True
            self._changed.notify_all()
            return self._changed.wait_for(
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
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        lost: int = self.dropped + self.queue_length
        hangs = TimeoutError(f"{self.database.name} hangs") if self._thread.is_alive() else None
        if (fault := self._fault or hangs) and lost:
            raise EnvironmentFault(f"{lost:,} rows of the prediction log are lost", fault, "")

    def __enter__(self) -> Self:
        """Begin a block at whose end the log is closed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _run(self) -> None:
        while self._queue or not self._closing:
            with self._changed:
                self._changed.wait_for(self._due, INTERVAL)
                records = [*itertools.islice(self._queue, BATCH)]
            try:
                self._renewed()
                if records:
                    self._store(encode(records))
                self._fault = None
            except EnvironmentFault as fault:
                if not self._fault:
                    _LOG.error("%s Rows wait in memory, and %d fit there.", fault, self.capacity)
                self._fault = fault
                if self._closing:
                    break
                time.sleep(INTERVAL)
                continue
            except Exception:  # a mistake of ours must not end the log
                self.dropped += sum(map(_size, records))
                _LOG.exception("Some rows of the prediction log cannot be written.")
            self._settle(records)
            while self._copy_back() and len(self._queue) < BATCH:
                pass
        self.dropped += self.queue_length
        self._settle([*self._queue])
        self.database.close()
        self.fallback.close()

    def _due(self) -> bool:
        return self._closing or self._hurry or len(self._queue) >= BATCH

    def _settle(self, records: list[Predicted | Refused]) -> None:
        with self._changed:
            for _ in records:
                self.queue_length -= _size(self._queue.popleft())
            self._hurry = self._hurry and bool(self._queue)
            self._changed.notify_all()

    def _store(self, rows: Rows) -> None:
        """Write rows to the database or else to the fallback; EnvironmentFault when neither takes them."""
        if time.monotonic() >= self._retry_at:
            try:
                return self._insert(rows)
            except (IntegrityError, DataError):
                pass  # one of them is refused: copying them back finds it
            except (EnvironmentFault, PredictionLogError) as error:
                self._lose(error)
        with self.fallback.begin() as connection:
            insert(connection, rows)
        self._waiting = True

    def _insert(self, rows: Rows) -> None:
        written = False
        while not written or self._renewed():  # into a file that was deleted meanwhile: once more
            with self.database.begin() as connection:
                insert(connection, rows)
            written = True
        self.written += sum(map(len, rows.values()))
        self._available = True

    def _renewed(self) -> bool:
        """Notice a file that was deleted or replaced."""
        if self.fallback.renew():
            self._passed = dict.fromkeys(self._passed, 0)
        if not self.database.renew():
            return False
        _LOG.warning("%s was deleted or replaced; the next row makes it anew.", self.database.name)
        self.written = 0
        return True

    def _lose(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + RETRY
        if self._available:
            _LOG.warning("%s Rows wait in %s.", error, self.fallback.file)
        self._available = False

    def _copy_back(self) -> bool:
        """Copy the oldest rows of the fallback to the database; whether more may wait."""
        if not self._waiting or time.monotonic() < self._retry_at:
            return False
        for table, passed in self._passed.items():
            oldest = f"SELECT * FROM {table.name} WHERE arrival > ? ORDER BY arrival LIMIT ?"
            try:
                with self.fallback.begin(only_read=True) as connection:
                    rows = connection.exec_driver_sql(oldest, (passed, self._copied)).all()
                if not rows:
                    continue
                self._insert({table: [row[:-1] for row in rows]})
                with self.fallback.begin() as connection:
                    copied = table.c.arrival.in_([row[-1] for row in rows])
                    connection.execute(table.delete().where(copied))
            except (IntegrityError, DataError) as error:
                if len(rows) > 1:
                    self._copied = 1  # until the refused row is found
                else:  # the next process tries it again
                    self._passed[table], self._copied = rows[0][-1], COPIED
                    self.rejected += 1
                    where = self.fallback.file
                    _LOG.error(
                        "%s refuses a row, kept in %s: %s", self.database.name, where, error.orig
                    )
            except Exception as error:  # whatever it is, rows go on being written
                self._lose(error)
            return self._available
        self._waiting = False
        return False


def _size(record: Predicted | Refused) -> int:
    return len(record.ids if isinstance(record, Predicted) else record.violations)
