"""Retention: what is older goes from all tables, and from the file."""

import datetime
from pathlib import Path

import pytest

from mlref.prediction_log import retention
from mlref.prediction_log.database import Database
from mlref.prediction_log.feedback import add
from mlref.prediction_log.labels import Label
from mlref.prediction_log.retention import Counts, count_before, delete_before, prune
from mlref.storage import Project
from tests.code.prediction_log.records import HOUR, NOON, at, predicted, refused, rows
from tests.code.prediction_log.test_sink import write


def test_what_is_older_is_deleted_with_its_labels(database: Database) -> None:
    """What is of the moment itself stays."""
    old, new = at(NOON - HOUR), at(NOON)
    write(database, predicted(2, ids=[old, new]), predicted(ids=[old], role="shadow"))
    add(database, [Label(old, 1), Label(new, 2)])
    assert count_before(database, NOON) == Counts(predictions=2, labels=1, refusals=0)
    assert delete_before(database, NOON) == Counts(predictions=2, labels=1, refusals=0)
    assert [row["id"] for row in rows(database)] == [new]
    assert [row["prediction_id"] for row in rows(database, "labels")] == [new]
    assert count_before(database, NOON) == delete_before(database, NOON) == Counts(0, 0, 0)


def test_refusals_are_deleted_by_their_time_too(database: Database) -> None:
    """They are of now."""
    write(database, refused("area"))
    assert delete_before(database, NOON - 10_000 * 24 * HOUR).refusals == 0
    assert delete_before(database, NOON + 100_000 * 24 * HOUR).refusals == 1


def test_many_rows_are_deleted_a_part_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the writer need not wait for long."""
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    write(database, predicted(7, ids=[at(NOON, number) for number in range(7)]))
    assert delete_before(database, NOON + HOUR).predictions == 7


def test_nothing_of_what_was_deleted_stays_in_the_files(tmp_path: Path) -> None:
    """SQLite would only forget where it is; its journal has it once more."""
    database = Database("sqlite:///log.db", tmp_path)
    write(database, predicted(50, ids=[at(NOON, i) for i in range(50)], subjects=["Ada"] * 50))

    def found() -> bool:
        return any(b"Ada" in path.read_bytes() for path in tmp_path.glob("log.db*"))

    assert found()
    delete_before(database, NOON + HOUR)
    assert not found()
    database.close()


def clone(database: Database, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A clone whose log holds two predictions, one of them 91 days old."""
    now = datetime.datetime.now(datetime.UTC)
    write(database, predicted(2, ids=[at(now - 91 * 24 * HOUR), at(now - 89 * 24 * HOUR)]))
    monkeypatch.setattr(Database, "of", lambda _: database)
    return Project(Path())


def test_what_is_too_old_goes_when_that_was_agreed_to(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is not stays."""
    project, shown = clone(database, monkeypatch), []
    assert prune(project, 90, lambda older: bool(shown.append(older))) is None
    assert shown == [Counts(predictions=1, labels=0, refusals=0)]
    assert len(rows(database)) == 2
    assert prune(project, 90, lambda _: True) == "Deleted rows: 1."
    assert len(rows(database)) == 1


def test_nobody_is_asked_about_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daily job that has nothing to do says so, and is no failure."""
    said = prune(clone(database, monkeypatch), 92, pytest.fail)
    assert said and "holds nothing from before" in said
