"""Rows go into the database once, however often and by whichever way they are written."""

import contextlib
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlref.core.errors import EnvironmentFault
from mlref.prediction_log.database import Database
from mlref.prediction_log.encode import encode
from mlref.prediction_log.records import Predicted, Refused
from mlref.prediction_log.sink import Sink
from mlref.prediction_log.spool import Spool, lines
from tests.code.prediction_log.records import (
    MODEL,
    Breakable,
    breakable,
    predicted,
    refused,
    rows,
)


class Clock:
    """Seconds that go on when they are told."""

    now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def write(database: Database, *records: Predicted | Refused) -> None:
    """Write records that the database must take."""
    with tempfile.TemporaryDirectory() as folder:
        sink = Sink(database, Spool(Path(folder)))
        sink.write(encode(records))
    assert (sink.spooled, sink.unfit) == (0, 0)


Make = Callable[[], tuple[Breakable, Sink]]


@pytest.fixture
def clock() -> Clock:
    """It stands."""
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Make]:
    """Opens a database that can be away, with a sink before it; again, as another process would."""
    with contextlib.ExitStack() as stack:

        def make() -> tuple[Breakable, Sink]:
            database = breakable(tmp_path)
            sink = Sink(database, Spool(tmp_path / "spool"), clock=clock)
            stack.callback(sink.close)
            return database, sink

        yield make


def ids(database: Database) -> list[str]:
    """The ids that are in it."""
    return [row["id"] for row in rows(database)]


def test_rows_are_in_the_database_with_every_field(database: Database, tmp_path: Path) -> None:
    """Predictions one by one, refusals counted."""
    sink = Sink(database, Spool(tmp_path / "spool"))
    record = predicted(2, request_id="r", subjects=["naïve 患者", None], latency=0.25)
    sink.write(encode([record, refused("area", "area")]))
    first, second = rows(database)
    assert (first["id"], second["id"]) == tuple(record.ids)
    assert (first["subject"], second["subject"]) == ("naïve 患者", None)
    assert (first["value"], first["lower"], first["latency"]) == (100, 20, 0.25)
    assert (first["version"], first["digest"]) == MODEL[:2]
    [counted] = rows(database, "refusals")
    assert (counted["column"], counted["count"]) == ("area", 2)
    assert (sink.written, sink.spooled, sink.unfit) == (3, 0, 0)


@pytest.mark.parametrize(
    "subject",
    [
        "'; DROP TABLE predictions; --",
        "' OR '1'='1",
        '"); DELETE FROM labels; --',
        "%s %(id)s ? :id \\' {0}",
        "患者 🙂 \u202e \x1b[31m",
        "nul \0 and half \ud83d",
        "x" * 100_000,
        "",
    ],
)
def test_whatever_the_subject_is_it_is_text(
    database: Database, tmp_path: Path, subject: str
) -> None:
    """SQL in it is not run, and what no database can hold is replaced."""
    sink = Sink(database, Spool(tmp_path / "spool"))
    sink.write(encode([predicted(subjects=[subject], request_id=subject)]))
    [row] = rows(database)
    assert row["subject"] == row["request_id"]
    assert row["subject"] == subject.replace("\0", "\ufffd").replace("\ud83d", "\ufffd")


def test_writing_a_batch_again_doubles_nothing(database: Database, tmp_path: Path) -> None:
    """Of neither table."""
    sink = Sink(database, Spool(tmp_path / "spool"))
    batch = encode([predicted(3), refused("area")])
    sink.write(batch)
    sink.write(batch)
    assert (len(rows(database)), len(rows(database, "refusals"))) == (3, 1)


def test_a_shadow_answers_under_the_id_of_the_champion(database: Database, tmp_path: Path) -> None:
    """And is a row of its own."""
    champion = predicted()
    shadow = champion._replace(role="shadow", value=champion.value + 1)
    Sink(database, Spool(tmp_path / "spool")).write(encode([champion, shadow]))
    assert [(row["role"], row["value"]) for row in rows(database)] == [
        ("champion", 100), ("shadow", 101),
    ]  # fmt: skip


def test_while_the_database_is_away_rows_wait_and_then_arrive_once(
    make: Make, clock: Clock, tmp_path: Path
) -> None:
    """From before, from meanwhile and from afterwards."""
    database, sink = make()
    before, meanwhile, also, after = (predicted(2) for _ in range(4))
    sink.write(encode([before]))
    database.away = True
    sink.write(encode([meanwhile]))
    sink.write(encode([also, refused("area")]))
    assert (sink.written, sink.spooled) == (2, 5)
    database.away = False
    clock.now += 1
    sink.write(encode([after]))
    assert sink.replay() and not sink.replay()
    assert ids(database) == [name for part in (before, meanwhile, also, after) for name in part.ids]
    assert sink.written == 9 and [*(tmp_path / "spool").iterdir()] == []


def test_a_commit_that_was_not_answered_doubles_nothing(make: Make, clock: Clock) -> None:
    """The row is in the database and in the spool."""
    database, sink = make()
    database.unanswered = True
    record = predicted(3)
    sink.write(encode([record]))
    assert sink.spooled == 3 and ids(database) == record.ids
    database.unanswered = False
    clock.now += 1
    assert sink.replay()
    assert ids(database) == record.ids


def test_a_replay_that_was_interrupted_is_done_again(
    make: Make, clock: Clock, tmp_path: Path
) -> None:
    """The file goes only when its rows are in the database."""
    database, sink = make()
    database.away = True
    record = predicted(3)
    sink.write(encode([record]))
    database.away, database.unanswered = False, True
    clock.now += 1
    assert not sink.replay() and len([*(tmp_path / "spool").glob("*.jsonl")]) == 1
    database.unanswered = False
    clock.now += 1
    assert sink.replay() and ids(database) == record.ids


def test_a_database_that_is_away_is_not_asked_for_each_batch(make: Make, clock: Clock) -> None:
    """Asking may take seconds, and the queue would fill up."""
    database, sink = make()
    database.away = True
    sink.write(encode([predicted()]))
    database.away = False
    sink.write(encode([predicted()]))
    assert sink.written == 0 and not sink.replay()
    clock.now += 1
    assert sink.replay() and sink.written == 2


def test_the_log_says_once_that_rows_wait(
    make: Make, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where they are, not at each batch; and again when it happens again."""
    database, sink = make()
    caplog.set_level(logging.INFO, "mlref.prediction_log")
    for _ in range(2):
        database.away = True
        for _ in range(3):
            sink.write(encode([predicted(subjects=["patient 7"])]))
            clock.now += 1
        database.away = False
        assert sink.replay()
    said = caplog.messages
    assert len(said) == 4 and said[0] == said[2]
    assert said[0].endswith(
        f"it is away. What was there before is unchanged. Rows wait in {tmp_path}/spool."
    )
    assert said[1].endswith("was replayed: 3 rows") and "patient" not in caplog.text


def test_several_threads_may_write_and_replay(make: Make, clock: Clock) -> None:
    """As those of batch scoring; the database goes away meanwhile."""
    database, sink = make()
    records = [[predicted(2) for _ in range(50)] for _ in range(4)]

    def write(part: list[Predicted]) -> None:
        for number, record in enumerate(part):
            database.away = number % 3 == 0
            sink.write(encode([record]))
            clock.now += 0.5
            sink.replay()

    threads = [threading.Thread(target=write, args=(part,)) for part in records]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.away = False
    clock.now += 1
    while sink.replay():
        pass
    assert ids(database) == sorted(name for part in records for one in part for name in one.ids)
    assert sink.unfit == 0


def test_what_an_earlier_process_has_left_is_replayed(make: Make) -> None:
    """Without an outage of its own."""
    database, sink = make()
    database.away = True
    record = predicted(2)
    sink.write(encode([record]))
    sink.close()
    database, sink = make()
    assert sink.replay() and not sink.replay() and ids(database) == record.ids


def test_a_file_that_another_process_has_replayed_is_passed_over(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking for it and reading it."""
    _, sink = make()
    monkeypatch.setattr(sink.spool, "files", lambda: [tmp_path / "gone.jsonl"])
    assert sink.replay()


def test_a_corrupt_line_is_kept_aside_by_name_and_the_rest_replayed(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is thrown away, and nothing is tried for ever."""
    database, sink = make()
    record = predicted(2)
    first, second = lines(encode([record]))
    (tmp_path / "spool" / "7.jsonl").write_bytes(first + b"\n{torn\n" + second + b"\n")
    assert sink.replay()
    assert ids(database) == record.ids and sink.unfit == 1
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["7.corrupt"]
    assert (tmp_path / "spool" / "7.corrupt").read_bytes() == b"{torn\n"
    assert caplog.messages[-1] == (
        f"1 rows cannot be written to the database and are kept in {tmp_path}/spool/7.corrupt"
    )
    assert not sink.replay()


@pytest.mark.parametrize("bad", [0, 3, 6])
def test_a_row_that_the_database_refuses_does_not_hold_up_the_others(
    database: Database, tmp_path: Path, bad: int
) -> None:
    """It is found among them and kept aside, whether it comes from a request or from the spool."""
    record = predicted(7)
    batch = encode([record, refused("area")])
    batch["predictions"][bad] = (
        *batch["predictions"][bad][:-7],
        None,
        *batch["predictions"][bad][-6:],
    )
    sink = Sink(database, Spool(tmp_path / "spool"))
    sink.write(batch)
    assert ids(database) == [name for name in record.ids if name != record.ids[bad]]
    assert (sink.written, sink.unfit, len(rows(database, "refusals"))) == (7, 1, 1)
    [kept] = (tmp_path / "spool").glob("*.corrupt")
    assert record.ids[bad].encode() in kept.read_bytes()


def test_without_database_and_disk_the_caller_keeps_the_batch(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And may write it again."""
    database, sink = make()
    database.away = True
    fault = EnvironmentFault("x.part cannot be written", OSError(28, "No space left on device"))
    monkeypatch.setattr(sink.spool, "append", lambda batch: (_ for _ in ()).throw(fault))
    with pytest.raises(EnvironmentFault, match="No space left on device"):
        sink.write(encode([predicted()]))
    assert (sink.written, sink.spooled) == (0, 0)


def test_tables_that_another_version_has_made_meanwhile_get_no_rows(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """They wait, and the reason is logged."""
    database, sink = make()
    database.check()
    with database.begin() as connection:
        connection.execute(sa.text("update prediction_log_version set version = 99"))
    _, sink = make()
    sink.write(encode([predicted()]))
    assert (sink.written, sink.spooled, ids(database)) == (0, 1, [])
    assert "has schema version 99 of the prediction log; this mlref" in caplog.text
