"""What is handed to the log is in the database once, whatever happens to the database meanwhile."""

import contextlib
import resource
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from mlref.core.errors import EnvironmentFault
from mlref.core.storage import Project
from mlref.prediction_log.database import Database
from mlref.prediction_log.records import Predicted
from mlref.prediction_log.writer import Writer, open_log
from tests.code.prediction_log.records import (
    NOON,
    PATIENCE,
    at,
    ids,
    locked,
    moment,
    predicted,
    refused,
    rows,
    together,
    until,
    write,
)

NOWHERE = "postgresql://log@127.0.0.1:1/log"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked file is away after 50 ms."""
    monkeypatch.setattr("mlref.prediction_log.database.PATIENCE", 0.05)


@contextlib.contextmanager
def full_disk(size: int = 0) -> Iterator[None]:
    """A disk that takes no byte beyond the first ``size`` of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def give(log: Writer, records: list[Predicted]) -> None:
    """Log some records."""
    for record in records:
        log.predictions(record)


def test_a_prediction_has_every_field(project: Project, database: Database) -> None:
    write(project, predicted(
        2, ids=[at(NOON), at(NOON, 1)], unusual=np.eye(2, 4, dtype=bool), latency=0.25,
        request_id="r1", subject="patient 7", role="shadow", source="batch",
    ))  # fmt: skip
    first, second = rows(database)
    assert moment(first.pop("at")) == NOON
    assert first == {
        "id": at(NOON), "role": "shadow", "source": "batch", "version": "3",
        "digest": "d1ge57", "value": 100.0, "lower": 20.0, "upper": 180.0, "warnings": ["area"],
        "features": {"area": 70.5, "rooms": 3, "heating": "oil", "balcony": None},
        "latency": 0.25, "request_id": "r1", "subject": "patient 7", "output": None, "arrival": 1,
    }  # fmt: skip
    assert (second["value"], second["subject"], second["warnings"]) == (
        101.0,
        "patient 7",
        ["rooms"],
    )
    assert second["arrival"] == 2


def test_equal_refusals_are_one_row_with_their_count(project: Project, database: Database) -> None:
    with open_log(project) as log:
        log.refusals(refused("area", "area"))
        log.refusals(refused("area", "rooms", "made up", None))
    counts = {(row["column"], row["reason"]): row["count"] for row in rows(database, "refusals")}
    reason = "allowed: something else"
    assert counts == {("area", reason): 3, ("rooms", reason): 1, (None, reason): 2}


SUBJECTS = [
    "'; DROP TABLE predictions; --", "' OR '1'='1", "%s %(id)s ? :id \\' {0}",
    "患者 🙂 \u202e \x1b[31m", "x" * 100_000, "",
]  # fmt: skip


def test_whatever_the_subject_is_it_is_text(project: Project, database: Database) -> None:
    write(project, *(predicted(subject=text, request_id=text) for text in SUBJECTS))
    found = [(row["subject"], row["request_id"]) for row in rows(database)]
    assert found == [(text, text) for text in SUBJECTS]


def test_while_the_file_is_locked_rows_of_all_threads_and_processes_wait_and_then_arrive_once(
    local: Project, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    sent = [[predicted(2) for _ in range(20)] for _ in range(6)]
    before, *meanwhile, after = sent
    with open_log(local) as one, open_log(local) as other:
        give(one, before)
        assert one.flush(PATIENCE)
        logs = (one, other, one, other)
        with locked(local):
            together(*(partial(give, log, part) for log, part in zip(logs, meanwhile, strict=True)))
            one.refusals(refused("area"))
            assert one.flush(PATIENCE) and other.flush(PATIENCE)
            assert (one.written, one.queue_length) == (40, 0)
        give(other, after)
        until(lambda: one.written + other.written == 241)
    with contextlib.closing(Database.of(local)) as database:
        assert ids(database) == sorted(name for part in sent for one in part for name in one.ids)
        assert sorted(row["arrival"] for row in rows(database)) == [*range(1, 241)]
        assert len(rows(database, "refusals")) == 1
    with contextlib.closing(Database.fallback(local)) as fallback:
        assert rows(fallback) == rows(fallback, "refusals") == []
    assert [log.dropped + log.rejected for log in (one, other)] == [0, 0]
    assert {text.partition("Rows wait")[2] for text in caplog.messages} == {
        f" in {local.spool}/waiting.db."
    }


def test_rows_that_an_earlier_process_left_arrive_with_the_next(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    record = predicted(2000, subject="naïve")
    with monkeypatch.context() as patch:
        patch.setenv("MLREF_LOG_URL", NOWHERE)
        with open_log(project) as log:
            log.predictions(record)
    assert (log.written, log.dropped) == (0, 0) and f"Rows wait in {project.spool}" in caplog.text
    with open_log(project) as log:
        until(lambda: log.written == 2000)
    with contextlib.closing(Database.of(project)) as database:
        assert ids(database) == record.ids and rows(database)[0]["subject"] == "naïve"


def test_an_unavailable_database_is_not_asked_again_at_once(
    local: Project, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlref.prediction_log.writer.RETRY", 60.0)
    with open_log(local) as log:
        with locked(local):
            log.predictions(predicted())
            assert log.flush(PATIENCE)
        log.predictions(predicted())
        assert log.flush(PATIENCE) and log.written == 0
    with contextlib.closing(Database.fallback(local)) as fallback:
        assert len(rows(fallback)) == 2


def test_the_end_writes_all_that_waits_however_many_batches_that_are(
    project: Project, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlref.prediction_log.writer.INTERVAL", 60.0)
    with open_log(project) as log:
        give(log, [predicted() for _ in range(300)])
    assert (log.written, log.dropped, len(ids(database))) == (300, 0, 300)


REFUSE = {
    "sqlite": "CREATE TRIGGER picky BEFORE INSERT ON predictions WHEN new.value > 900"
    " BEGIN SELECT RAISE(ABORT, 'picky'); END",
    "postgresql": "ALTER TABLE predictions ADD CONSTRAINT picky CHECK (value < 900)",
}
RELENT = {
    "sqlite": "DROP TRIGGER picky",
    "postgresql": "ALTER TABLE predictions DROP CONSTRAINT picky",
}


def test_a_row_that_the_database_refuses_is_kept_and_does_not_hold_up_the_others(
    project: Project, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    kind = database.engine.dialect.name
    with database.begin() as connection:
        connection.exec_driver_sql(REFUSE[kind])
    value = np.arange(897.0, 904.0, 1.1)
    bad = predicted(7, value=value)
    with open_log(project) as log:
        log.predictions(bad)
        log.predictions(good := predicted(3))
        log.refusals(refused("area"))
        until(lambda: log.written == 7 and log.rejected == 4)
        log.predictions(more := predicted())
        assert log.flush(PATIENCE) and (log.dropped, log.queue_length) == (0, 0)
    assert ids(database) == [*bad.ids[:3], *good.ids, *more.ids]
    assert "refuses 4 rows" in caplog.text
    with database.begin() as connection:
        connection.exec_driver_sql(RELENT[kind])
    with open_log(project) as log:
        until(lambda: log.written == 4)
    assert ids(database) == [*bad.ids, *good.ids, *more.ids]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_deleted_or_replaced_is_noticed_and_made_anew(
    local: Project, replaced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with open_log(local) as log:
        log.predictions(predicted(5))
        assert log.flush(PATIENCE) and log.written == 5
        if replaced:
            (local.root / "other.db").write_bytes(b"")
            (local.root / "other.db").rename(local.log)
        else:
            local.log.unlink()
        log.predictions(second := predicted(3))
        assert log.flush(PATIENCE) and log.written == 8
        log.predictions(third := predicted(1))
        assert log.flush(PATIENCE)
    with contextlib.closing(Database.of(local)) as database:
        assert ids(database) == [*second.ids, *third.ids]
    assert (log.written, log.dropped) == (9, 0)
    assert caplog.messages == [
        f"The prediction log {local.log} was deleted or replaced, and is made anew."
    ]


def test_on_a_full_disk_rows_wait_in_memory_and_arrive_when_there_is_room(
    local: Project, caplog: pytest.LogCaptureFixture
) -> None:
    with open_log(local) as log:
        log.predictions(predicted())
        assert log.flush(PATIENCE)
        with full_disk():
            log.predictions(record := predicted(2))
            until(lambda: "Rows wait in memory" in caplog.text)
            assert (log.written, log.queue_length, log.dropped) == (1, 2, 0)
            assert not log.flush(0)
        assert log.flush(PATIENCE)
        until(lambda: log.written == 3)
    with contextlib.closing(Database.of(local)) as database:
        assert ids(database)[1:] == record.ids


def test_a_database_that_hangs_does_not_keep_the_service_from_stopping(local: Project) -> None:
    log = open_log(local)
    with locked(local):
        log.predictions(predicted(2))
        with pytest.raises(EnvironmentFault, match="2 rows .* are lost: .* hangs"):
            log.close(timeout=0.1)
        assert not log.flush(timeout=0)
    log.close()
    assert log.queue_length == 0


def test_what_does_not_fit_into_the_queue_is_dropped_whole_and_counted(local: Project) -> None:
    with Writer(Database.of(local), Database.fallback(local), capacity=10) as log:
        Database.of(local).check()
        local.spool.mkdir()
        with locked(local):
            log.predictions(predicted(4))
            log.predictions(predicted(7))
            log.refusals(refused(*["area"] * 7))
            assert (log.queue_length, log.dropped) == (4, 14)
        assert log.flush(PATIENCE) and (log.queue_length, log.dropped) == (0, 14)
        log.predictions(predicted(10))
    assert (log.written, log.dropped) == (14, 14)


def test_a_record_whose_parts_differ_in_length_is_dropped(
    local: Project, caplog: pytest.LogCaptureFixture
) -> None:
    with open_log(local) as log:
        log.predictions(predicted(2, lower=np.zeros(1)))
        assert log.flush(PATIENCE)
        log.predictions(predicted())
    assert log.written == 1 and log.dropped > 0 and "cannot be written" in caplog.text


def test_a_fallback_that_cannot_be_written_is_refused_with_its_variable(local: Project) -> None:
    local.spool.write_text("a file")
    with pytest.raises(EnvironmentFault, match="MLREF_LOG_SPOOL"):
        open_log(local)
