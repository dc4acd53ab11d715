"""A database is opened by its URL; no message shows a password."""

import sqlite3
import traceback
from pathlib import Path

import pytest

from mlref.core.errors import EnvironmentFault, MlrefError, PredictionLogError
from mlref.core.storage import Project
from mlref.prediction_log.database import Database
from tests.code.prediction_log.records import predicted, rows, write

SECRET = "s3cr3t"  # pragma: allowlist secret
LOGIN = "://log:"


def test_a_reader_does_not_hold_up_the_writer_and_sees_the_state_in_which_it_began(
    local: Project, database: Database
) -> None:
    write(local, predicted())
    with database.begin(only_read=True) as connection:
        found = connection.exec_driver_sql("select id from predictions")
        write(local, predicted())
        assert len(found.all()) == 1
    assert len(rows(database)) == 2


@pytest.mark.parametrize(
    "url",
    [
        "",
        SECRET,
        "sqlite:///",
        "sqlite:///:memory:",
        f"mysql{LOGIN}{SECRET}@db.example.org/log",
        f"postgresql{LOGIN}half@{SECRET}@db.example.org/log",
        f"postgresql{LOGIN}half@{SECRET}:12@db.example.org/log",
        f"postgresql{LOGIN}{SECRET}@db.example.org:port/log",
    ],
)
def test_what_is_no_url_is_refused_without_being_shown(url: str, tmp_path: Path) -> None:
    with pytest.raises(PredictionLogError, match="^MLREF_LOG_URL is not the address of a") as said:
        Database(url, tmp_path)
    assert SECRET not in shown(said.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (f"postgresql{LOGIN}{SECRET}@127.0.0.1:1/log", "127.0.0.1:1"),
        (f"postgresql://log@127.0.0.1:1/log?password={SECRET}", "127.0.0.1:1"),
        (f"postgresql{LOGIN}/{SECRET}:?#@127.0.0.1:1/log", "127.0.0.1:1"),
        (f"postgresql+psycopg{LOGIN}{SECRET}%40%2F@127.0.0.1:1/log", "127.0.0.1:1"),
    ],
)
def test_a_server_that_does_not_answer_is_named_without_its_password(
    url: str, name: str, tmp_path: Path
) -> None:
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
    monkeypatch.setattr("mlref.prediction_log.database.PATIENCE", 0)
    planted = plant(tmp_path)
    database = Database("sqlite:///log.db", tmp_path)
    with pytest.raises(EnvironmentFault, match=f"log.db cannot be used: {reason}"):
        database.check()
    database.close()
    if planted:
        planted.close()
