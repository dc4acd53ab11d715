"""The tables are made in an empty database; those of another version or program are refused."""

import datetime
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlref.core.errors import PredictionLogError
from mlref.prediction_log.database import Database
from mlref.prediction_log.schema import LABELS, METADATA, RESULTS, SCHEMA_VERSION
from tests.code.prediction_log.records import NOON, rows

NOWHERE = Path("/nowhere")
"""No path is relative to it."""


def test_an_empty_database_gets_the_tables(database: Database) -> None:
    """And the version by which they were made."""
    database.check()
    assert rows(database, "prediction_log_version") == [{"version": SCHEMA_VERSION}]
    names = set(sa.inspect(database.engine).get_table_names())
    assert names == METADATA.tables.keys()
    assert names == {
        "prediction_log_version", "predictions", "refusals", "labels", "monitoring_results",
    }  # fmt: skip


def test_a_second_start_finds_them(database: Database) -> None:
    """And creates nothing."""
    database.check()
    again = Database(str(database.engine.url.render_as_string(hide_password=False)), NOWHERE)
    again.check()
    again.close()


def test_two_processes_may_start_at_once(database: Database) -> None:
    """One creates the tables, the others wait for it."""
    url = database.engine.url.render_as_string(hide_password=False)
    starters = [Database(url, NOWHERE) for _ in range(4)]
    problems: list[Exception] = []

    def start(one: Database) -> None:
        try:
            one.check()
        except Exception as error:  # the thread would swallow it
            problems.append(error)
        one.close()

    threads = [threading.Thread(target=start, args=(one,)) for one in starters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


@pytest.mark.parametrize(
    ("found", "remedy"),
    [(SCHEMA_VERSION + 1, "Update mlref"), (SCHEMA_VERSION - 1, "Go back to the older mlref")],
)
def test_another_version_is_refused_by_name(database: Database, found: int, remedy: str) -> None:
    """The message has both versions and what to do."""
    database.check()
    with database.begin() as connection:
        connection.execute(sa.text(f"update prediction_log_version set version = {found}"))
    url = database.engine.url.render_as_string(hide_password=False)
    other = Database(url, NOWHERE)
    with pytest.raises(PredictionLogError) as refusal:
        other.check()
    other.close()
    assert str(refusal.value) == (
        f"{database.name} has schema version {found} of the prediction log; this mlref reads and"
        f" writes version {SCHEMA_VERSION}. {remedy}, or let MLREF_LOG_URL name another database."
    )


def test_tables_of_another_program_are_not_touched(database: Database) -> None:
    """A table of one of these names without a version is somebody else's."""
    with database.engine.begin() as connection:
        connection.execute(sa.text("create table predictions (theirs integer)"))
    with pytest.raises(PredictionLogError, match="has a table 'predictions' that is not the pred"):
        database.check()


def test_other_tables_beside_are_no_hindrance(database: Database) -> None:
    """A database may be shared with another program."""
    with database.engine.begin() as connection:
        connection.execute(sa.text("create table runs (theirs integer)"))
    database.check()


def test_moments_come_back_in_utc_and_json_as_it_was(database: Database) -> None:
    """Whatever the zone in which they were given."""
    cet = datetime.timezone(datetime.timedelta(hours=1))
    result = {"naïve": [1, None, {"a": 0.1}]}
    with database.begin() as connection:
        connection.execute(
            RESULTS.insert().values(name="drift", at=NOON.astimezone(cet), result=result)
        )
        connection.execute(LABELS.insert().values(prediction_id="x", value=1, received=NOON))
    with database.begin(only_read=True) as connection:
        [[name, at, found]] = connection.execute(sa.select(RESULTS))
        [[observed]] = connection.execute(sa.select(LABELS.c.observed_at))
    assert (name, at, at.utcoffset(), found, observed) == (
        "drift", NOON, datetime.timedelta(0), result, None,
    )  # fmt: skip
