"""Write the log off the request path: a bounded queue, and a thread that takes batches from it."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol, Self

from mlref.core.errors import EnvironmentFault
from mlref.prediction_log.encode import Batch, encode
from mlref.prediction_log.records import Predicted, Refused

CAPACITY = 50_000
"""Rows that may wait, about 40 MB; a writer that is so far behind drops what comes."""
BATCH = 64
"""Rows after which the thread is woken; few, since encoding them holds up the requests for as long."""
INTERVAL = 0.2
"""Seconds after which it wakes up anyway: what a killed process has not written is not older."""
PATIENCE = 20.0
"""Seconds in which the end of a service must have written what waits."""

_LOG = logging.getLogger("mlref.prediction_log")


class Destination(Protocol):
    """What the thread needs of :class:`mlref.prediction_log.sink.Sink`."""

    written: int

    def write(self, batch: Batch) -> None:
        """Put rows in safety."""

    def replay(self) -> bool:
        """Do a part of what waits."""

    def close(self) -> None:
        """End it."""


class Writer:
    """The log of a running service; ends with :meth:`close`, or as a context manager.

    Parameters
    ----------
    sink : Destination
        Where the thread writes.
    capacity : int
        Rows that may wait, those that are being written among them.
    batch : int
        Rows from which the thread is woken.
    interval : float
        Seconds after which it wakes up by itself.

    Attributes
    ----------
    dropped : int
        Rows that were not logged: the queue was full or closed, or nothing could be written until the end.
    queue_length : int
        Rows that wait or are being written.
    """

    def __init__(
        self, sink: Destination, capacity: int = CAPACITY, batch: int = BATCH,
        interval: float = INTERVAL,
    ) -> None:  # fmt: skip
        self.sink, self.capacity = sink, capacity
        self.dropped = self.queue_length = self._untaken = 0
        self._batch, self._interval = batch, interval
        self._queue: deque[tuple[Predicted | Refused | threading.Event, int]] = deque()
        self._held: tuple[Batch, int] | None = None
        self._stuck = False
        self._lock = threading.Lock()
        self._wake, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    @property
    def written(self) -> int:
        """Rows that are in the database."""
        return self.sink.written

    def predictions(self, predicted: Predicted) -> None:
        """Take note of answered rows; see :class:`mlref.prediction_log.records.PredictionLog`."""
        self._put(predicted, len(predicted.ids))

    def refusals(self, refused: Refused) -> None:
        """Take note of refused values."""
        self._put(refused, len(refused.violations))

    def _put(self, record: Predicted | Refused, rows: int) -> None:
        with self._lock:
            if self.queue_length + rows > self.capacity or self._closed.is_set():
                self.dropped += rows
                return
            self.queue_length += rows
            self._untaken += rows
            self._queue.append((record, rows))
        if self._untaken >= self._batch and not self._wake.is_set():
            self._wake.set()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until what was noted before is in the database or the spool.

        Returns
        -------
        bool
            False when ``timeout`` (seconds) passed first.
        """
        done = threading.Event()
        with self._lock:
            if not self._closed.is_set():
                self._queue.append((done, 0))
        self._wake.set()
        if self._closed.is_set():
            self._thread.join(timeout)
            return not self._thread.is_alive()
        return done.wait(timeout)

    def close(self, timeout: float = PATIENCE) -> None:
        """Write what waits and end the thread. Not to be called from a signal's handler itself.

        Parameters
        ----------
        timeout : float
            Seconds after which a database that neither takes rows nor refuses them is given up.
        """
        with self._lock:
            self._closed.set()
        self._wake.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            _LOG.error(
                "%d rows of the prediction log may be lost: the database hangs.", self.queue_length
            )

    def __enter__(self) -> Self:
        """Begin a block at whose end the log is closed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(self._interval)
            self._wake.clear()
            if not self._drain():
                self._closed.wait(self._interval)
            elif self._guarded(self.sink.replay):
                self._wake.set()
        if not self._drain():
            lost = self.queue_length
            self._forget(lost)
            _LOG.error("%d rows of the prediction log are lost: nothing took them.", lost)
        self._guarded(self.sink.close)

    @staticmethod
    def _guarded(action: Callable[[], bool | None]) -> bool:
        """Do something whose failure must not end the thread."""
        try:
            return bool(action())
        except Exception:  # whatever it is, rows go on being written
            _LOG.exception("the prediction log failed and goes on")
            return False

    def _drain(self) -> bool:
        """Write what waits now; False when that was not possible, and it waits on.

        What comes meanwhile waits for the next batch: under load there is always something.
        """
        left = len(self._queue)
        while self._held or left:
            if not self._held:
                left -= self._take(left)
            elif not self._write(*self._held):
                return False
        return True

    def _take(self, most: int) -> int:
        """Hold the next rows, about a batch of them; a flush ends with all rows before it.

        Returns
        -------
        int
            How many places of the queue that took, ``most`` at most.
        """
        records: list[Predicted | Refused] = []
        rows = taken = 0
        while taken < most and rows < self._batch:
            record, count = self._queue[0]
            if isinstance(record, threading.Event):
                if records:
                    break
                record.set()
            else:
                records.append(record)
            rows += count
            taken += 1
            self._queue.popleft()
        with self._lock:
            self._untaken -= rows
        try:
            self._held = (encode(records), rows) if records else None
        except Exception:  # a mistake in a record must not end the log
            _LOG.exception("%d rows of the prediction log cannot be encoded", rows)
            self._forget(rows)
        return taken

    def _write(self, batch: Batch, rows: int) -> bool:
        """Write what is held; False when it has to be held on."""
        try:
            self.sink.write(batch)
        except EnvironmentFault as error:
            if not self._stuck:
                _LOG.error("%s Rows wait in memory, and %d fit there.", error, self.capacity)
            self._stuck = True
            return False
        except Exception:  # a mistake of ours must not end the log
            _LOG.exception("%d rows of the prediction log cannot be written", rows)
            self._forget(rows)
        else:
            with self._lock:
                self.queue_length -= rows
        self._held, self._stuck = None, False
        return True

    def _forget(self, rows: int) -> None:
        with self._lock:
            self.dropped += rows
            self.queue_length -= rows
