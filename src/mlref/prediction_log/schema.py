"""The tables of the prediction log for SQLite and PostgreSQL, and the way from version 1 to version 2.

Rows are read by *arrival*: each row gets the next number of a counter in the transaction that writes
it, and these transactions exclude one another. So whoever has read up to a number finds all that was
written since above it, also rows that waited elsewhere or were committed late.
"""

import datetime
import functools
import importlib
from typing import Any

import sqlalchemy as sa

from mlref.core.errors import PredictionLogError

SCHEMA_VERSION = 2
"""Goes up with every change to a table; a new version only adds to the tables."""

_CREATION = 7_091_975_403
"""Number of the lock with which one process at a time creates or migrates tables in PostgreSQL."""

Row = tuple[str | float | int | None, ...]
"""A value for each column but the last, ``arrival``; moments and JSON are text."""
Rows = dict[sa.Table, list[Row]]


class Time(sa.TypeDecorator[datetime.datetime]):
    """A moment in UTC: with its time zone in PostgreSQL, as ISO 8601 text that sorts by time in SQLite."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True
    """Statements with this type can be cached: it has no options."""

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        """Choose the type of the database."""
        return dialect.type_descriptor(
            sa.Text() if dialect.name == "sqlite" else self.impl_instance
        )

    def process_bind_param(self, value: datetime.datetime | None, dialect: sa.Dialect) -> Any:
        """Turn a moment into the stored value."""
        return to_text(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime.datetime | None:
        """Turn the stored value into a moment."""
        moment = datetime.datetime.fromisoformat(value) if isinstance(value, str) else value
        return None if moment is None else moment.astimezone(datetime.UTC)


def to_text(moment: datetime.datetime) -> str:
    """Write a moment as text that sorts by time.

    Examples
    --------
    >>> cet = datetime.timezone(datetime.timedelta(hours=1))
    >>> to_text(datetime.datetime(2026, 11, 24, 13, tzinfo=cet))
    '2026-11-24T12:00:00.000000+00:00'
    """
    return moment.astimezone(datetime.UTC).isoformat(timespec="microseconds")


METADATA = sa.MetaData()

VERSION = sa.Table(
    "prediction_log_version",
    METADATA,
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("arrivals", sa.BigInteger, nullable=False, server_default="0"),
)
"""One row: the schema's version, and the number of the last row that arrived."""

PREDICTIONS = sa.Table(
    "predictions",
    METADATA,
    # A challenger in shadow answers under the champion's id: one label is the ground truth of both.
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, primary_key=True),
    sa.Column("at", Time, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("features", sa.JSON, nullable=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("lower", sa.Double),
    sa.Column("upper", sa.Double),
    sa.Column("warnings", sa.JSON, nullable=False),
    sa.Column("latency", sa.Double),
    sa.Column("request_id", sa.Text),
    sa.Column("subject", sa.Text, index=True),
    sa.Column("output", sa.JSON),
    sa.Column("arrival", sa.BigInteger, index=True),
    sqlite_with_rowid=False,
)
"""One row a prediction. ``features`` maps names to values, ``warnings`` lists the unusual ones' names;
``output`` is for the answers of other tasks than regression."""

REFUSALS = sa.Table(
    "refusals",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("at", Time, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("column", sa.Text),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("arrival", sa.BigInteger, index=True),
    sqlite_with_rowid=False,
)
"""How many values of a column were rejected for one reason, in one batch of rows."""

LABEL_EVENTS = sa.Table(
    "label_events",
    METADATA,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("prediction_id", sa.Text, nullable=False, index=True),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("observed_at", Time),
    sa.Column("source", sa.Text),
    sa.Column("received", Time, nullable=False),
)
"""Ground truth, only appended: the label of a prediction is its event with the highest ``seq``."""

FALLBACK = sa.MetaData()
"""The same tables for rows that wait: only keys are required, since a refused row is kept there too."""
for _table in METADATA.sorted_tables:
    for _column in _table.to_metadata(FALLBACK).columns:
        _column.nullable = not _column.primary_key


def prepare(connection: sa.Connection, name: str, metadata: sa.MetaData = METADATA) -> None:
    """Create the tables, or bring those of an older version up to date.

    Parameters
    ----------
    connection : Connection
        In a transaction; in SQLite one that may write.
    name : str
        Of the database, for messages.
    metadata : MetaData
        ``METADATA`` or ``FALLBACK``.

    Raises
    ------
    PredictionLogError
        When the tables are of a newer version, or of another program.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION)))
    tables = {*sa.inspect(connection).get_table_names()}
    if not tables & METADATA.tables.keys():
        metadata.create_all(connection, checkfirst=False)
        connection.execute(VERSION.insert().values(version=SCHEMA_VERSION))
        return
    found = connection.scalar(sa.select(VERSION.c.version)) if VERSION.name in tables else None
    if found == 1:
        _migrate(connection)
    elif found != SCHEMA_VERSION:
        raise PredictionLogError(
            f"{name} has tables of another program, or of version {found} of the prediction log; this"
            f" mlref reads and writes version {SCHEMA_VERSION}. Update mlref, or let MLREF_LOG_URL name"
            " another database."
        )
    if "labels" in tables:  # where version 1 keeps them
        _adopt(connection)


def _migrate(connection: sa.Connection) -> None:
    """Add what version 2 has and version 1 has not; a process of version 1 can go on writing."""
    for addition in (
        "predictions ADD COLUMN output JSON",
        "predictions ADD COLUMN arrival BIGINT",
        "refusals ADD COLUMN arrival BIGINT",
        "prediction_log_version ADD COLUMN arrivals BIGINT NOT NULL DEFAULT 0",
    ):
        connection.exec_driver_sql(f"ALTER TABLE {addition}")
    LABEL_EVENTS.create(connection)
    for index in (*PREDICTIONS.indexes, *REFUSALS.indexes):
        index.create(connection)
    connection.execute(VERSION.update().values(version=SCHEMA_VERSION))


def _adopt(connection: sa.Connection) -> None:
    """Let the rows that version 1 wrote arrive, all at once, and move its labels to the events."""
    arrival = reserve(connection, 1).start
    for table in ("predictions", "refusals"):
        connection.exec_driver_sql(f"UPDATE {table} SET arrival = {arrival} WHERE arrival IS NULL")
    moved = connection.exec_driver_sql("SELECT count(*) FROM labels").scalar_one()
    seq = f"{reserve(connection, moved).start - 1} + row_number() OVER (ORDER BY received)"
    connection.exec_driver_sql(
        "INSERT INTO label_events (seq, prediction_id, value, observed_at, source, received)"
        f" SELECT {seq}, prediction_id, value, observed_at, source, received FROM labels AS old"
        " WHERE NOT EXISTS (SELECT 1 FROM label_events AS new"
        " WHERE new.prediction_id = old.prediction_id AND new.value = old.value)"
    )
    connection.exec_driver_sql("DELETE FROM labels")


def insert(connection: sa.Connection, rows: Rows) -> None:
    """Add predictions and refusals, numbered by arrival; those that are there already are passed over."""
    for table, part in rows.items():
        numbers = reserve(connection, len(part))
        numbered = [(*row, number) for row, number in zip(part, numbers, strict=True)]
        connection.exec_driver_sql(_insertion(table, connection.dialect), numbered)


@functools.lru_cache(maxsize=16)
def _insertion(table: sa.Table, dialect: sa.Dialect) -> str:
    """Compile once what Core would compile, and convert value by value, for each batch: half of its time."""
    sql = importlib.import_module(
        f"sqlalchemy.dialects.{dialect.name}"
    )  # importing both takes 60 ms
    return str(sql.insert(table).on_conflict_do_nothing().compile(dialect=dialect))


def reserve(connection: sa.Connection, count: int) -> range:
    """Take the next numbers of arrival; until the end of the transaction others who ask wait."""
    statement = VERSION.update().values(arrivals=VERSION.c.arrivals + count)
    last = connection.execute(statement.returning(VERSION.c.arrivals)).scalar_one()
    return range(last - count + 1, last + 1)
