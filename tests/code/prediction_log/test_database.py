"""A database is opened by its URL; no message shows a password."""

import sqlite3
import threading
import traceback
from pathlib import Path

import pytest

from mlref.core.errors import EnvironmentFault, MlrefError, PredictionLogError
from mlref.core.storage import Project
from mlref.prediction_log.database import Database
from tests.code.prediction_log.records import predicted, rows
from tests.code.prediction_log.test_sink import write

SECRET = "s3cr3t"  # pragma: allowlist secret
LOGIN = "://log:"


def test_without_a_url_the_log_is_a_file_in_the_clone(tmp_path: Path) -> None:
    """Beside mlflow.db."""
    database = Database.of(Project(tmp_path))
    database.check()
    assert database.file == tmp_path.resolve() / "predictions.db" and database.file.is_file()
    database.close()


def test_the_environment_names_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path begins in the clone, wherever the command is run."""
    monkeypatch.setenv("MLREF_LOG_URL", "sqlite:///kept/log.db")
    (tmp_path / "kept").mkdir()
    database = Database.of(Project(tmp_path))
    database.check()
    database.close()
    assert (tmp_path / "kept" / "log.db").is_file()


def test_the_file_is_written_ahead_and_deleted_content_is_overwritten(tmp_path: Path) -> None:
    """On every connection."""
    database = Database("sqlite:///log.db", tmp_path)
    for _ in range(2):
        with database.begin() as connection:
            pragmas = ("journal_mode", "synchronous", "secure_delete", "busy_timeout")
            found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
        database.close()
        assert found == ["wal", 1, 1, 5000]


def holder(file: Path) -> sqlite3.Connection:
    """Another process that writes to a file that is not written ahead yet."""
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_two_that_open_a_new_file_at_once_wait_for_one_another(tmp_path: Path) -> None:
    """SQLite answers the second one that the file is locked, whatever its own timeout is."""
    other = holder(tmp_path / "log.db")
    database = Database("sqlite:///log.db", tmp_path)
    release = threading.Timer(0.1, other.execute, ["COMMIT"])
    release.start()
    database.check()
    release.join()
    other.close()
    database.close()


def test_the_wait_for_a_new_file_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the file's name and what is in the way."""
    monkeypatch.setattr("mlref.prediction_log.database.PATIENCE", 0.1)
    other = holder(tmp_path / "log.db")
    database = Database("sqlite:///log.db", tmp_path)
    with pytest.raises(EnvironmentFault, match="log.db cannot be used: database is locked"):
        database.check()
    other.close()
    database.close()


def test_a_reader_does_not_hold_up_the_writer(tmp_path: Path) -> None:
    """And sees the state in which it began."""
    database = Database("sqlite:///log.db", tmp_path)
    database.check()
    with database.begin(only_read=True) as connection:
        before = connection.exec_driver_sql("select count(*) from predictions").scalar()
        write(database, predicted())
        after = connection.exec_driver_sql("select count(*) from predictions").scalar()
    assert (before, after, len(rows(database))) == (0, 0, 1)
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        SECRET,
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        f"mysql{LOGIN}{SECRET}@db.example.org/log",
        f"postgresql+asyncpg{LOGIN}{SECRET}@db.example.org/log",
        f"postgres{LOGIN}{SECRET}@db.example.org/log",
        f"postgresql{LOGIN}half@{SECRET}@db.example.org/log",
        f"postgresql{LOGIN}half@12/{SECRET}@db.example.org/log",
        f"postgresql{LOGIN}half@{SECRET}:12@db.example.org/log",
        f"postgresql{LOGIN}{SECRET}@db.example.org:port/log",
    ],
)
def test_what_is_no_url_is_refused_without_being_shown(url: str, tmp_path: Path) -> None:
    """Also where a password that is not escaped makes another URL of it."""
    with pytest.raises(PredictionLogError, match="^MLREF_LOG_URL is not the address of a") as said:
        Database(url, tmp_path)
    assert SECRET not in shown(said.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (f"postgresql{LOGIN}{SECRET}@127.0.0.1:1/log", "127.0.0.1:1"),
        (f"postgresql://log@127.0.0.1:1/log?password={SECRET}", "127.0.0.1:1"),
        (f"postgresql{LOGIN}/{SECRET}:?#@127.0.0.1:1/log", "127.0.0.1:1"),
        (
            f"postgresql+psycopg{LOGIN}{SECRET}%40%2F@127.0.0.1:1/log",
            "127.0.0.1:1",
        ),
    ],
)
def test_a_server_that_does_not_answer_is_named_without_its_password(
    url: str, name: str, tmp_path: Path
) -> None:
    """Nor is it in the traceback that `--debug` shows."""
    with pytest.raises(EnvironmentFault) as fault:
        Database(url, tmp_path).check()
    assert str(fault.value).startswith(f"The prediction log at {name} cannot be used: connection")
    assert "Connection refused" in str(fault.value) and SECRET not in shown(fault.value)


def shown(error: MlrefError) -> str:
    """All that a person could see of an error."""
    return "".join(traceback.format_exception(error))


def plant_text(folder: Path) -> None:
    """A file that is no database."""
    (folder / "log.db").write_text("not a database" * 100)


def plant_folder(folder: Path) -> None:
    """A folder in the place of the file."""
    (folder / "log.db").mkdir()


def plant_lock(folder: Path) -> sqlite3.Connection:
    """Another program that writes, and goes on."""
    connection = sqlite3.connect(folder / "log.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (plant_text, "file is not a database"),
        (plant_folder, "unable to open database file"),
        (plant_lock, "database is locked"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_fault_of_the_environment(
    plant: object, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the name of the file."""
    monkeypatch.setattr("mlref.prediction_log.database.PATIENCE", 0)
    planted = plant(tmp_path)  # type: ignore[operator]
    database = Database("sqlite:///log.db", tmp_path)
    with pytest.raises(EnvironmentFault, match=f"log.db cannot be used: {reason}"):
        database.check()
    database.close()
    if planted:
        planted.close()


def test_a_missing_driver_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL needs a package that a plain installation does not have."""
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(PredictionLogError, match="MLREF_LOG_URL needs the package psycopg"):
        Database("postgresql://log@db.example.org/log", tmp_path)
