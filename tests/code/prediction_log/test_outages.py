"""The log while its server goes away, and of a process that is killed."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlref.core.errors import EnvironmentFault
from mlref.core.storage import Project
from mlref.prediction_log.database import Database
from mlref.prediction_log.reader import stream
from mlref.prediction_log.writer import Writer, open_log
from tests.code.prediction_log.conftest import ONE_SERVER, PASSWORD
from tests.code.prediction_log.records import ids, predicted, rows, until
from tests.fakes import CONTRACT
from tests.postgres import Postgres

ROOT = Path(__file__).parents[3]


def grows(count: Callable[[], int]) -> None:
    """Wait until a count has grown by a hundred."""
    before = count()
    until(lambda: count() > before + 100)


@contextlib.contextmanager
def writing(log: Writer) -> Iterator[list[str]]:
    """Predictions one after the other in a thread, as from a service; gives their ids."""
    sent: list[str] = []
    done = threading.Event()

    def write() -> None:
        while not done.wait(0.0005):
            record = predicted()
            sent.extend(record.ids)
            log.predictions(record)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield sent
    finally:
        done.set()
        thread.join()


@ONE_SERVER
def test_a_server_that_goes_away_and_comes_back_under_writes_gets_every_row_once(
    postgres: Postgres, remote: Project
) -> None:
    with contextlib.closing(Database.fallback(remote)) as fallback:
        with open_log(remote) as log, writing(log) as sent:
            grows(lambda: log.written)
            postgres.stop()
            try:
                grows(lambda: len(ids(fallback)))
                assert log.dropped == 0
            finally:
                postgres.start()
            until(lambda: not ids(fallback))
            grows(lambda: log.written)
        with contextlib.closing(Database.of(remote)) as database:
            assert ids(database) == sorted(sent)
        assert (log.dropped, log.queue_length, log.rejected) == (0, 0, 0)
        assert log.written == len(sent) and ids(fallback) == []


def test_a_reader_misses_nothing_of_several_writers(project: Project) -> None:
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(contextlib.closing(Database.of(project)))
        found, after = list[str](), 0
        with contextlib.ExitStack() as writers:
            logs = [writers.enter_context(open_log(project)) for _ in range(3)]
            sent = [writers.enter_context(writing(log)) for log in logs]
            for _ in range(20):
                for chunk in stream(database, CONTRACT, after):
                    found, after = [*found, *chunk.ids], chunk.last
                time.sleep(0.05)
        for chunk in stream(database, CONTRACT, after):
            found += chunk.ids
        assert len(found) > 100 and sorted(found) == sorted(name for one in sent for name in one)


@ONE_SERVER
def test_a_wrong_password_is_told_without_it(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.url("log").replace(PASSWORD, "a-wrong-secret")
    with pytest.raises(EnvironmentFault, match="password authentication failed") as fault:
        Database(url, tmp_path).check()
    shown = "".join(traceback.format_exception(fault.value))
    assert "a-wrong-secret" not in shown and PASSWORD not in shown


SERVICE = """
import os, sys, time
from pathlib import Path
from mlref.prediction_log.writer import open_log
from mlref.core.storage import Project
from tests.code.prediction_log.records import predicted

most, sent = int(sys.argv[2]), 0
log = open_log(Project(Path(sys.argv[1])))
while True:
    while log.queue_length >= most:
        time.sleep(0.0001)
    log.predictions(predicted())
    sent += 1
    os.write(1, b"%d %d\\n" % (sent, log.written))
"""
"""Predicts until it is killed; says after each row how many it sent and how many are written."""


def serve_and_kill(project: Project, most: int) -> tuple[int, int]:
    """Run the service, kill it after a thousand rows, and give its last figures."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(project.root), str(most)],
        env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith(b"1000 "):
                process.kill()
                break
        *_, last = [line, *process.stdout.read().splitlines()]
    assert process.returncode == -signal.SIGKILL
    sent, written = map(int, last.split())
    return sent, written


def logged(project: Project) -> int:
    """How many predictions are in the log."""
    with contextlib.closing(Database.of(project)) as database:
        return len(rows(database))


def test_a_service_that_is_killed_loses_at_most_what_was_not_yet_written(local: Project) -> None:
    sent, written = serve_and_kill(local, most=250)
    found = logged(local)
    assert found >= written and sent - found <= 250
