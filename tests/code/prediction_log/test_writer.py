"""The writer takes what it is given at once, and its thread brings it to safety."""

import resource
import threading
import time
from pathlib import Path

import pytest

from mlref.core.errors import EnvironmentFault
from mlref.prediction_log.database import Database
from mlref.prediction_log.encode import Batch
from mlref.prediction_log.records import NoLog, PredictionLog
from mlref.prediction_log.sink import Sink
from mlref.prediction_log.spool import Spool
from mlref.prediction_log.writer import Writer
from tests.code.prediction_log.records import Memory, predicted, refused, rows

FULL = EnvironmentFault("x.part cannot be written", OSError(28, "No space left on device"), "")


class Gate(Memory):
    """A destination that is not done until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.open = threading.Event(), threading.Event()

    def write(self, batch: Batch) -> None:
        """Wait, then keep rows."""
        self.reached.set()
        self.open.wait()
        super().write(batch)


def test_a_flush_waits_for_all_that_was_noted_before() -> None:
    """In the order in which it came."""
    memory = Memory()
    with Writer(memory, interval=60) as log:
        records = [predicted(count) for count in (1, 3, 2)]
        for record in records:
            log.predictions(record)
        log.refusals(refused("area", "rooms"))
        assert log.flush(timeout=60)
        assert memory.ids == [name for record in records for name in record.ids]
        assert (log.written, log.dropped, log.queue_length) == (8, 0, 0)


def test_close_writes_what_waits_and_ends_the_destination() -> None:
    """A service that is told to stop loses nothing."""
    memory = Memory()
    log = Writer(memory, interval=60)
    record = predicted(1000)
    log.predictions(record)
    log.close()
    assert memory.ids == record.ids and memory.closed
    log.close()
    assert log.flush()


def test_a_database_that_hangs_does_not_keep_the_service_from_stopping(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is told how many rows that may cost."""
    gate = Gate()
    log = Writer(gate, interval=60)
    log.predictions(predicted(2))
    log.close(timeout=0)
    assert caplog.messages == ["2 rows of the prediction log may be lost: the database hangs."]
    assert not log.flush(timeout=0)
    gate.open.set()
    log.close()
    assert gate.written == 2


def test_what_comes_after_the_end_is_counted_as_dropped() -> None:
    """Not written, and not an error of the request."""
    memory = Memory()
    log = Writer(memory)
    log.close()
    log.predictions(predicted(2))
    assert (memory.ids, log.dropped, log.queue_length) == ([], 2, 0)


def test_rows_are_written_in_batches() -> None:
    """A thousand small requests are not a thousand transactions."""
    gate = Gate()
    with Writer(gate, batch=100, interval=60) as log:
        for _ in range(1000):
            log.predictions(predicted())
        gate.open.set()
    assert len(gate.ids) == 1000
    assert (
        len(gate.batches) <= 11 and max(len(batch["predictions"]) for batch in gate.batches) == 100
    )


def test_what_comes_while_a_batch_is_written_waits_for_the_next() -> None:
    """Under load there is always something, and a transaction costs as much as twenty rows."""
    gate = Gate()
    with Writer(gate, batch=100, interval=60) as log:
        log.predictions(predicted(100))
        assert gate.reached.wait(60)
        log.predictions(predicted(5))
        gate.open.set()
        while not gate.written:
            time.sleep(0.001)
        log.predictions(predicted(95))
    assert [len(batch["predictions"]) for batch in gate.batches] == [100, 100]


def test_a_full_batch_wakes_the_thread() -> None:
    """It need not wait for the end of its interval."""
    gate = Gate()
    with Writer(gate, batch=10, interval=3600) as log:
        log.predictions(predicted(10))
        assert gate.reached.wait(60)
        gate.open.set()


def test_when_the_queue_is_full_what_comes_is_dropped_and_counted() -> None:
    """The request does not wait; rows that are being written count as waiting."""
    gate = Gate()
    with Writer(gate, capacity=10, batch=1, interval=60) as log:
        log.predictions(predicted(4))
        assert gate.reached.wait(60)
        log.predictions(predicted(6))
        assert (log.queue_length, log.dropped) == (10, 0)
        log.predictions(predicted(1))
        log.refusals(refused("area", "area"))
        assert (log.queue_length, log.dropped) == (10, 3)
        gate.open.set()
        assert log.flush(60)
        log.predictions(predicted(10))
        assert log.flush(60)
        assert (log.written, log.queue_length, log.dropped) == (20, 0, 3)


def test_a_request_larger_than_the_queue_is_dropped_whole() -> None:
    """Half of a request would be misleading."""
    with Writer(memory := Memory(), capacity=10) as log:
        log.predictions(predicted(11))
        assert log.dropped == 11
    assert memory.ids == []


def test_a_batch_that_nothing_took_is_written_again(caplog: pytest.LogCaptureFixture) -> None:
    """Before what came later; the log says once that it waits in memory."""
    memory, tried = Memory(), threading.Semaphore(0)

    class Refusing(Memory):
        def write(self, batch: Batch) -> None:
            tried.release()
            super().write(batch)

    memory = Refusing()
    memory.refusal = FULL
    with Writer(memory, interval=0.001) as log:
        first, second = predicted(2), predicted(3)
        log.predictions(first)
        for _ in range(3):
            assert tried.acquire(timeout=60)
        log.predictions(second)
        memory.refusal = None
        assert log.flush(60)
    assert memory.ids == [*first.ids, *second.ids] and log.dropped == 0
    assert caplog.messages == [
        "x.part cannot be written: No space left on device. Rows wait in memory, and 50000 fit there."
    ]


def test_on_a_full_disk_rows_wait_in_memory_and_arrive_when_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the database nor the spool can grow meanwhile, and no half of a row is left."""
    tried = threading.Semaphore(0)

    class Counted(Sink):
        def write(self, batch: Batch) -> None:
            try:
                super().write(batch)
            except EnvironmentFault:
                tried.release()
                raise

    database = Database("sqlite:///log.db", tmp_path)
    database.check()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Writer(Counted(database, Spool(tmp_path / "spool"), retry=0), interval=0.001) as log:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        try:
            log.predictions(record := predicted(2, subjects=["x" * 2_000_000, None]))
            for _ in range(3):
                assert tried.acquire(timeout=60)
            assert (log.written, log.queue_length, log.dropped) == (0, 2, 0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert log.flush(60)
    assert [row["id"] for row in rows(database)] == record.ids
    assert (log.written, log.dropped) == (2, 0)
    assert "log.db cannot be used: " in caplog.messages[0]
    assert caplog.messages[1].endswith(
        "cannot be written: File too large. Rows wait in memory, and 50000 fit there."
    )
    database.close()


def test_rows_that_nothing_took_until_the_end_are_counted_as_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The service stops all the same, and says how many are lost."""
    memory = Memory()
    memory.refusal = FULL
    log = Writer(memory, interval=0.001)
    log.predictions(predicted(2))
    log.refusals(refused("area"))
    log.close()
    assert (log.dropped, log.queue_length, memory.closed) == (3, 0, True)
    assert caplog.messages[-1] == "3 rows of the prediction log are lost: nothing took them."


def test_a_mistake_in_a_record_does_not_end_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Its rows are dropped, and the reason is logged."""
    with Writer(memory := Memory(), interval=60) as log:
        log.predictions(predicted(2, ids=["no id", "no id"]))
        assert log.flush(60)
        log.predictions(sound := predicted())
        assert log.flush(60)
        assert (log.dropped, log.queue_length) == (2, 0)
    assert memory.ids == sound.ids
    assert "2 rows of the prediction log cannot be encoded" in caplog.text


@pytest.mark.parametrize("error", [ValueError("a mistake of ours"), KeyError("predictions")])
def test_a_mistake_of_the_destination_does_not_end_the_log(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The batch is dropped, and the next one is written."""
    memory = Memory()
    memory.refusal = error
    with Writer(memory, interval=60) as log:
        log.predictions(predicted(2))
        assert log.flush(60)
        memory.refusal = None
        log.predictions(predicted(3))
    assert (memory.written, log.dropped) == (3, 2)
    assert "2 rows of the prediction log cannot be written" in caplog.text


def test_a_replay_that_fails_does_not_end_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Nor does an end that fails keep the service from stopping."""

    class Failing(Memory):
        def replay(self) -> bool:
            raise RuntimeError("planted")

        close = replay  # type: ignore[assignment]

    with Writer(memory := Failing(), batch=1, interval=60) as log:
        for _ in range(2):
            log.predictions(predicted())
            assert log.flush(60)
    assert memory.written == 2 and "planted" in caplog.text


def test_many_threads_may_write_at_once() -> None:
    """Shadow scoring runs beside the requests; no row is lost or counted twice."""
    with Writer(memory := Memory(), batch=10) as log:

        def send() -> None:
            for _ in range(250):
                log.predictions(predicted(2))

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (memory.written, len({*memory.ids}), log.dropped) == (2000, 2000, 0)
    assert log.queue_length == 0


def test_a_service_without_a_log_forgets(tmp_path: Path) -> None:
    """By the same calls."""
    logs: list[PredictionLog] = [NoLog(), Writer(Memory())]
    for log in logs:
        log.predictions(predicted())
        log.refusals(refused("area"))
    assert isinstance(logs[1], Writer)
    logs[1].close()
