"""Tables are made, or those that a newer version adds; tables of others are refused."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mlref.core.errors import PredictionLogError
from mlref.core.storage import Project
from mlref.prediction_log.database import Database
from mlref.prediction_log.schema import METADATA, SCHEMA_VERSION
from tests.code.prediction_log.records import ids, predicted, rows, together, write


def opening(database: Database) -> Callable[[], None]:
    """Open and check its database once more, as another process does."""
    url = database.engine.url.render_as_string(hide_password=False)

    def check() -> None:
        with contextlib.closing(Database(url, Path())) as other:
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
