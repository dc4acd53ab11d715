"""What is older, or about one person, goes from all tables and from the file."""

import contextlib
import datetime
from pathlib import Path

import pytest

from mlref.core.storage import Project
from mlref.prediction_log import retention
from mlref.prediction_log.database import Database
from mlref.prediction_log.encode import encode
from mlref.prediction_log.feedback import add
from mlref.prediction_log.labels import Label
from mlref.prediction_log.retention import about, before, count, delete, erase, prune
from mlref.prediction_log.spool import Spool
from tests.code.prediction_log.records import HOUR, NOON, at, predicted, refused, rows
from tests.code.prediction_log.test_sink import write


def test_what_is_older_is_deleted_with_its_labels(database: Database) -> None:
    """What is of the moment itself stays."""
    old, new = at(NOON - HOUR), at(NOON)
    write(database, predicted(2, ids=[old, new]), predicted(ids=[old], role="shadow"))
    add(database, [Label(old, 1), Label(new, 2)])
    older = {"predictions": 2, "labels": 1, "refusals": 0}
    assert count(database, before(NOON)) == delete(database, before(NOON)) == older
    assert [row["id"] for row in rows(database)] == [new]
    assert [row["prediction_id"] for row in rows(database, "labels")] == [new]
    nothing = dict.fromkeys(older, 0)
    assert count(database, before(NOON)) == delete(database, before(NOON)) == nothing


def test_refusals_are_deleted_by_their_time_too(database: Database) -> None:
    """They are of now."""
    write(database, refused("area"))
    assert delete(database, before(NOON - 10_000 * 24 * HOUR))["refusals"] == 0
    assert delete(database, before(NOON + 100_000 * 24 * HOUR))["refusals"] == 1


def test_many_rows_are_deleted_a_part_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the writer need not wait for long."""
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    write(database, predicted(7, ids=[at(NOON, number) for number in range(7)]))
    assert delete(database, before(NOON + HOUR))["predictions"] == 7


def test_nothing_of_what_was_deleted_stays_in_the_files(tmp_path: Path) -> None:
    """SQLite would only forget where it is; its journal has it once more."""
    database = Database("sqlite:///log.db", tmp_path)
    write(database, predicted(50, ids=[at(NOON, i) for i in range(50)], subjects=["Ada"] * 50))

    def found() -> bool:
        return any(b"Ada" in path.read_bytes() for path in tmp_path.glob("log.db*"))

    assert found()
    delete(database, before(NOON + HOUR))
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
    assert shown == [{"labels": 0, "predictions": 1, "refusals": 0}]
    assert len(rows(database)) == 2
    assert prune(project, 90, lambda _: True) == "Deleted rows: 1."
    assert len(rows(database)) == 1


def test_nobody_is_asked_about_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daily job that has nothing to do says so, and is no failure."""
    said = prune(clone(database, monkeypatch), 92, pytest.fail)
    assert said and "holds nothing from before" in said


def test_a_clone_without_a_log_does_not_get_one(tmp_path: Path) -> None:
    """Whoever only wants to delete need not have one."""
    said = prune(Project(tmp_path), 90, pytest.fail)
    assert said == f"The prediction log {tmp_path.resolve()}/predictions.db does not exist."
    assert not any(tmp_path.iterdir())


def test_a_subject_is_erased_with_the_labels(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both roles; others stay, and so does who only has a similar name."""
    names = [at(NOON, number) for number in range(3)]
    whose = ["Ada", "Ada L", None]
    write(database, predicted(3, ids=names, subjects=whose))
    write(database, predicted(3, ids=names, subjects=whose, role="shadow"), refused("area"))
    add(database, [Label(name, 1) for name in names])
    monkeypatch.setattr(Database, "of", lambda _: database)
    project, shown = Project(Path()), []
    assert erase(project, "Ada", lambda found: bool(shown.append(found))) is None
    assert shown == [{"labels": 1, "predictions": 2}] and len(rows(database)) == 6
    assert erase(project, "Ada", lambda _: True) == "Deleted rows: 3."
    assert {row["subject"] for row in rows(database)} == {"Ada L", None}
    assert [row["prediction_id"] for row in rows(database, "labels")] == names[1:]
    assert len(rows(database, "refusals")) == 1
    said = erase(project, "Ada", pytest.fail)
    assert said == f"{database.name} holds nothing about the subject Ada."


def test_no_subject_is_mistaken_for_all_without_one(database: Database) -> None:
    """The caller may have sent none."""
    write(database, predicted(2))
    assert count(database, about("")) == {"labels": 0, "predictions": 0}


def test_what_of_a_subject_waits_in_the_spool_is_told(tmp_path: Path) -> None:
    """It would come into the database after the deletion."""
    project = Project(tmp_path)
    spool = Spool(project.spool)
    spool.append(encode([predicted(2, subjects=["Ada", "Bob"])]))
    [waiting] = project.spool.glob("*.part")
    spool.set_aside("odd", [b'{"subject":"Ada"'])
    with contextlib.closing(Database.of(project)) as database:
        database.check()
    said = erase(project, "Ada", pytest.fail)
    assert said and "holds nothing about the subject Ada.\nMore of it waits in" in said
    assert f"{waiting.name}, " in said and "odd.corrupt. Let a service" in said
    assert "More of it" not in str(erase(project, "Eve", pytest.fail))
    spool.seal()
