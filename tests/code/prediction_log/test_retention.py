"""What is older, or about one person, goes from all tables, from the fallback and from the files."""

import datetime
from pathlib import Path

import pytest

from mlref.core.storage import Project
from mlref.prediction_log import retention
from mlref.prediction_log.database import Database
from mlref.prediction_log.ground_truth import Label, add
from mlref.prediction_log.retention import erase, prune
from mlref.prediction_log.writer import open_log
from tests.code.prediction_log.records import HOUR, at, ids, predicted, refused, rows, write

NOW = datetime.datetime.now(datetime.UTC)
OLD, NEW = at(NOW - 91 * 24 * HOUR), at(NOW - 89 * 24 * HOUR)


def waiting(project: Project, monkeypatch: pytest.MonkeyPatch, **fields: object) -> None:
    """A prediction that waits in the fallback."""
    with monkeypatch.context() as patch:
        patch.setenv("MLREF_LOG_URL", "postgresql://log@127.0.0.1:1/log")
        with open_log(project) as log:
            log.predictions(predicted(**fields))


def test_older_rows_are_deleted_with_their_labels_when_that_was_agreed_to(
    project: Project, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        project, predicted(2, ids=[OLD, NEW]), predicted(ids=[OLD], role="shadow"), refused("area")
    )
    add(database, [Label(OLD, 1), Label(NEW, 2)])
    waiting(project, monkeypatch, ids=[OLD])
    shown: list[object] = []
    assert prune(project, 90, lambda older: bool(shown.append(older))) is None
    counts = [["label_events", "1"], ["predictions", "3"], ["refusals", "0"]]
    assert shown == [(["table", "rows"], counts)]
    assert len(rows(database)) == 3
    assert prune(project, 90, lambda _: True) == "Deleted rows: 4."
    assert ids(database) == [NEW]
    assert [row["prediction_id"] for row in rows(database, "label_events")] == [NEW]
    said = prune(project, 90, pytest.fail)
    assert said and said.startswith(f"{database.name} holds nothing from before")
    assert prune(project, 0, lambda _: True) == "Deleted rows: 3."


def test_many_rows_are_deleted_a_part_at_a_time(
    project: Project, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    write(project, predicted(7))
    assert prune(project, 0, lambda _: True) == "Deleted rows: 7."


def test_a_subject_is_erased_with_the_labels(
    project: Project, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both roles; others stay, also those without a subject or with a similar one."""
    records = [predicted(subject=subject) for subject in ("Ada", "Ada L", None)]
    shadows = [record._replace(role="shadow") for record in records]
    write(project, *records, *shadows, refused("area"))
    names = [record.ids[0] for record in records]
    add(database, [Label(name, 1) for name in names])
    waiting(project, monkeypatch, subject="Ada")
    shown: list[object] = []
    assert erase(project, "Ada", lambda found: bool(shown.append(found))) is None
    assert shown == [(["table", "rows"], [["label_events", "1"], ["predictions", "3"]])]
    assert len(rows(database)) == 6
    assert erase(project, "Ada", lambda _: True) == "Deleted rows: 4."
    assert {row["subject"] for row in rows(database)} == {"Ada L", None}
    assert [row["prediction_id"] for row in rows(database, "label_events")] == names[1:]
    assert len(rows(database, "refusals")) == 1
    for subject in ("Ada", ""):
        said = erase(project, subject, pytest.fail)
        assert said == f"{database.name} holds nothing about the subject {subject}."


def test_nothing_of_what_was_deleted_stays_in_the_files(
    local: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would only forget where it is; its journal has it once more."""
    write(local, predicted(50, subject="Ada"))
    waiting(local, monkeypatch, subject="Ada")

    def found() -> list[Path]:
        files = (path for path in local.root.rglob("*.db*") if path.is_file())
        return [path for path in files if b"Ada" in path.read_bytes()]

    assert len({path.name.partition(".")[0] for path in found()}) == 2
    erase(local, "Ada", lambda _: True)
    assert found() == []


def test_a_clone_without_a_log_does_not_get_one(local: Project) -> None:
    said = prune(local, 90, pytest.fail)
    assert said == f"The prediction log {local.log} does not exist."
    assert not any(local.root.iterdir())
