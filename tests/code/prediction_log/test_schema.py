"""Tables are made, or migrated from version 1 with all that is in them; others are refused."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mlref.core.errors import PredictionLogError
from mlref.core.storage import Project
from mlref.prediction_log.database import Database
from mlref.prediction_log.reader import read, stream
from mlref.prediction_log.schema import METADATA, SCHEMA_VERSION
from tests.code.prediction_log.records import (
    ALWAYS,
    HOUR,
    NOON,
    at,
    ids,
    predicted,
    rows,
    together,
    write,
)
from tests.fakes import CONTRACT

HERE = Path(__file__).parent
FIRST, SECOND, THIRD = (at(NOON + hours * HOUR) for hours in range(3))
VERSION_1 = (
    "INSERT INTO predictions (id, role, at, source, version, digest, features, value, lower, upper,"
    " warnings, latency, request_id, subject) VALUES ('{}', 'champion', '2026-11-24T15:00:00+00:00',"
    " 'serve', '3', 'd1ge57', '{{\"area\":70.5}}', 1, 0, 2, '[]', NULL, NULL, NULL)"
    " ON CONFLICT DO NOTHING"
)
"""As a process of version 1 goes on writing."""
LABEL_1 = "INSERT INTO labels VALUES ('{}', {}, NULL, NULL, '2026-11-24T15:00:00+00:00')"


def plant(database: Database) -> None:
    """A log that version 1 has written."""
    text = (HERE / f"version_1.{database.engine.dialect.name}.sql").read_text()
    with database.engine.begin() as connection:
        for statement in text.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)


def opening(database: Database) -> Callable[[], None]:
    """Open and check its database once more, as another process does."""
    url = database.engine.url.render_as_string(hide_password=False)

    def check() -> None:
        with contextlib.closing(Database(url, HERE)) as other:
            other.check()

    return check


def test_several_processes_that_open_a_new_log_at_once_make_it_once_beside_other_tables(
    database: Database,
) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE runs (theirs integer)")
    together(*[opening(database)] * 4)
    database.check()
    names = {*sa.inspect(database.engine).get_table_names()} - {"runs"}
    assert names == METADATA.tables.keys() >= {"predictions", "refusals", "label_events"}
    assert rows(database, "prediction_log_version") == [{"version": SCHEMA_VERSION}]


def test_a_log_of_version_1_keeps_everything_and_goes_on(
    project: Project, database: Database
) -> None:
    plant(database)
    together(*[opening(database)] * 3)
    database.check()
    assert ids(database) == [FIRST, FIRST, SECOND, THIRD]
    [old] = stream(database, CONTRACT, role="champion")
    assert old.ids == (FIRST, SECOND, THIRD)
    found = read(database, ALWAYS)
    assert found["label"].fillna(-1).tolist() == [850, 850, 900, -1]
    assert found["observed_at"][0] == NOON + HOUR and found["subject"][0] == "Ada"
    assert found["output"].isna().all()
    assert [row["count"] for row in rows(database, "refusals")] == [2]
    write(project, new := predicted(2))
    [late] = stream(database, CONTRACT, after=old.last)
    assert list(late.ids) == new.ids


def test_a_process_of_version_1_may_go_on_writing(project: Project, database: Database) -> None:
    plant(database)
    names = [at(NOON + 3 * HOUR, number) for number in range(2)]
    with database.engine.connect() as version_1:
        with contextlib.closing(Database.of(project)) as migrated:
            migrated.check()
            [*_, last] = [chunk.last for chunk in stream(migrated, CONTRACT)]
        # what it asks of a log that it opens
        assert version_1.exec_driver_sql("SELECT version FROM prediction_log_version").scalar() == 1
        for name in names:
            version_1.exec_driver_sql(VERSION_1.format(name))
        for name, value in ((names[0], 5), (FIRST, 850), (SECOND, 901)):
            version_1.exec_driver_sql(LABEL_1.format(name, value))
        version_1.commit()
    with contextlib.closing(Database.of(project)) as later:
        [chunk] = stream(later, CONTRACT, after=last)
        assert list(chunk.ids) == names
        found = read(later, ALWAYS, role="champion").set_index("id")["label"].dropna()
        assert found.to_dict() == {FIRST: 850, SECOND: 901, names[0]: 5}


def test_a_log_of_version_2_gets_the_tables_of_the_monitor(
    project: Project, database: Database
) -> None:
    ours = [name for name in METADATA.tables if name.startswith("monitor_")]
    write(project, record := predicted(2))
    with database.begin() as connection:
        for name in ours:
            connection.exec_driver_sql(f"DROP TABLE {name}")
        connection.exec_driver_sql("UPDATE prediction_log_version SET version = 2")
    together(*[opening(database)] * 3)
    assert {*ours} <= {*sa.inspect(database.engine).get_table_names()}
    with contextlib.closing(Database.of(project)) as migrated:
        assert ids(migrated) == record.ids
        versions = [row["version"] for row in rows(migrated, "prediction_log_version")]
    assert versions == [2, SCHEMA_VERSION]


@pytest.mark.parametrize(
    ("table", "values"),
    [("predictions", None), ("prediction_log_version", SCHEMA_VERSION + 1), ("refusals", None)],
)
def test_tables_of_a_newer_version_or_another_program_are_not_touched(
    database: Database, table: str, values: Any
) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {table} (version integer)")
        if values:
            connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({values})")
    with pytest.raises(PredictionLogError, match=f"reads and writes version {SCHEMA_VERSION}"):
        database.check()
    assert sa.inspect(database.engine).get_table_names() == [table]
