"""The prediction log on a real PostgreSQL, and under a real SIGTERM and SIGKILL."""

import contextlib
import inspect
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlref.core.errors import EnvironmentFault
from mlref.prediction_log.database import Database
from mlref.prediction_log.sink import Sink
from mlref.prediction_log.spool import Spool
from mlref.prediction_log.writer import Writer
from tests.code.prediction_log import test_feedback as of_feedback
from tests.code.prediction_log import test_reader as of_reader
from tests.code.prediction_log import test_retention as of_retention
from tests.code.prediction_log import test_schema as of_schema
from tests.code.prediction_log import test_sink as of_sink
from tests.code.prediction_log.records import predicted, rows
from tests.postgres import Postgres, running

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds; generous, as it only bounds a hang on a busy machine."""
PASSWORD = "password-of-the-log"  # pragma: allowlist secret

for module in (of_feedback, of_reader, of_retention, of_schema, of_sink):
    for name, test in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("test_") and "database" in inspect.signature(test).parameters:
            globals()[name] = test  # the same test, with the fixture of this module


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A running server with the database `log`."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with running(port, "log", PASSWORD) as server:
        server.create("log")
        yield server


@pytest.fixture
def database(postgres: Postgres, tmp_path: Path) -> Iterator[Database]:
    """An empty database on it."""
    database = Database(postgres.url("log"), tmp_path)
    with database.engine.begin() as connection:
        connection.execute(sa.text("drop schema public cascade"))
        connection.execute(sa.text("create schema public"))
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/log.db"
    request.getfixturevalue("database")
    return str(request.getfixturevalue("postgres").url("log"))


def until(happened: Callable[[], bool]) -> None:
    """Wait for something, or fail."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def grows(count: Callable[[], int]) -> None:
    """Wait until a count has grown by a hundred."""
    before = count()
    until(lambda: count() > before + 100)


@contextlib.contextmanager
def writing(log: Writer) -> Iterator[list[str]]:
    """Predictions one after the other in a thread, as from a service; gives their ids."""
    ids: list[str] = []
    done = threading.Event()

    def write() -> None:
        while not done.wait(0.0005):
            record = predicted()
            ids.extend(record.ids)
            log.predictions(record)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield ids
    finally:
        done.set()
        thread.join()


def test_a_server_that_goes_away_and_comes_back_under_writes_gets_every_row_once(
    postgres: Postgres, database: Database, tmp_path: Path
) -> None:
    """Predictions go on meanwhile, and none is dropped."""
    sink = Sink(database, Spool(tmp_path / "spool"), retry=0.1)
    with Writer(sink, interval=0.01) as log, writing(log) as ids:
        for _ in range(2):
            grows(lambda: log.written)
            postgres.stop()
            try:
                grows(lambda: sink.spooled)
                assert log.dropped == 0
            finally:
                postgres.start()
            until(lambda: not [*(tmp_path / "spool").glob("*.jsonl")])
            grows(lambda: log.written)
    assert [row["id"] for row in rows(database)] == sorted(ids)
    assert (log.dropped, log.queue_length, sink.unfit) == (0, 0, 0)
    assert [*(tmp_path / "spool").iterdir()] == []


def test_a_wrong_password_is_told_without_it(postgres: Postgres, tmp_path: Path) -> None:
    """Nor is the right one in the message."""
    url = postgres.url("log").replace(PASSWORD, "a-wrong-secret")
    with pytest.raises(EnvironmentFault, match="password authentication failed") as fault:
        Database(url, tmp_path).check()
    shown = "".join(traceback.format_exception(fault.value))
    assert "a-wrong-secret" not in shown and PASSWORD not in shown


def test_a_database_that_is_not_there_is_named(postgres: Postgres, tmp_path: Path) -> None:
    """By the server's own words."""
    with pytest.raises(EnvironmentFault, match='database "nowhere" does not exist'):
        Database(postgres.url("nowhere"), tmp_path).check()


SERVICE = """
import os, signal, sys, threading
from pathlib import Path
from mlref.prediction_log.open import open_log
from mlref.core.storage import Project
from tests.code.prediction_log.records import predicted

told = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: told.set())
most = int(sys.argv[2])
with open_log(Project(Path(sys.argv[1]))) as log:
    sent = 0
    while not told.is_set():
        while log.queue_length >= most:
            told.wait(0.0001)
        log.predictions(predicted())
        sent += 1
        os.write(1, b"%d %d\\n" % (sent, log.written))
os.write(1, b"%d %d\\n" % (sent, log.written))
"""
"""Predicts until it is told to stop; says after each row how many it sent and how many are written."""


def serve_and_stop(folder: Path, url: str, how: signal.Signals, most: int) -> tuple[int, int]:
    """Run the service, stop it after some thousand rows, and give its last figures."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(folder), str(most)],
        env=os.environ | {"MLREF_LOG_URL": url, "PYTHONPATH": paths}, stdout=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith(b"3000 "):
                process.send_signal(how)
                break
        *_, last = [line, *process.stdout.read().splitlines()]
    assert process.returncode == (0 if how is signal.SIGTERM else -how)
    sent, written = map(int, last.split())
    return sent, written


def test_a_service_that_is_told_to_stop_loses_nothing(url: str, tmp_path: Path) -> None:
    """All that was sent is in the database."""
    sent, written = serve_and_stop(tmp_path, url, signal.SIGTERM, most=5000)
    database = Database(url, tmp_path)
    found = len(rows(database))
    database.close()
    assert found == written == sent


@pytest.mark.parametrize("most", [250, 2000])
def test_a_service_that_is_killed_loses_at_most_what_was_not_yet_written(
    url: str, most: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """What it counted as written is there; at most the queue's length is not."""
    sent, written = serve_and_stop(tmp_path, url, signal.SIGKILL, most)
    database = Database(url, tmp_path)
    found = len(rows(database))
    database.close()
    lost = sent - found
    record_property("lost", f"{lost} of {sent}, at most {most}")
    assert found >= written
    assert lost <= most
