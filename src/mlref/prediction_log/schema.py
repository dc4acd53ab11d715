"""The tables of the prediction log for SQLite and PostgreSQL.

Rows are read by *arrival*: the database numbers them, and transactions that write exclude one another.
So whoever has read up to a number finds all that was written since above it, also rows that waited
elsewhere.
"""

import datetime
from typing import Any

import sqlalchemy as sa

from mlref.core.errors import PredictionLogError
from mlref.prediction_log.ids import to_text

SCHEMA_VERSION = 3
"""Goes up with every change to a table; a new version only adds tables."""

OLDEST = 2
"""Version that lacks the monitor's tables, and gets them when it is opened."""

Row = tuple[str | float | None, ...]
"""A value for each column but the first, which the database numbers; moments and JSON are text."""
Rows = dict[sa.Table, list[Row]]

_MARK = {"postgresql": "%s", "sqlite": "?"}
"""Where a driver puts a value."""

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # it numbers no other type


class Time(sa.TypeDecorator[str]):
    """A moment: ISO 8601 text in UTC, which PostgreSQL keeps as its own type."""

    impl = sa.Text
    cache_ok = True
    """SQLAlchemy may keep a statement with it: it has no settings."""

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        """Take the database's own type, where it has one that knows time zones."""
        kind: Any = sa.DateTime(timezone=True) if dialect.name == "postgresql" else self.impl
        return dialect.type_descriptor(kind)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> str | None:
        """Read it as it was written."""
        return to_text(value) if isinstance(value, datetime.datetime) else value


METADATA = sa.MetaData()

VERSION = sa.Table(
    "prediction_log_version",
    METADATA,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
)
"""A row for each version of the schema that can write to these tables."""

PREDICTIONS = sa.Table(
    "predictions",
    METADATA,
    sa.Column("arrival", Number, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("at", Time, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("features", sa.JSON, nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("lower", sa.Double),
    sa.Column("upper", sa.Double),
    sa.Column("warnings", sa.JSON, nullable=False),
    sa.Column("latency", sa.Double),
    sa.Column("request_id", sa.Text),
    sa.Column("subject", sa.Text, index=True),
    sa.Column("output", sa.JSON(none_as_null=True)),
    # A challenger in shadow answers under the champion's id: one label is the ground truth of both.
    sa.UniqueConstraint("id", "role"),
    sqlite_autoincrement=True,
)
"""One row a prediction. ``features`` maps names to values, ``warnings`` lists the unusual ones' names;
``output`` is for the answers of other tasks than regression."""

REFUSALS = sa.Table(
    "refusals",
    METADATA,
    sa.Column("arrival", Number, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("at", Time, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("column", sa.Text),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""How many values of a column were rejected for one reason, in one batch of rows."""

LABEL_EVENTS = sa.Table(
    "label_events",
    METADATA,
    sa.Column("seq", Number, primary_key=True),
    sa.Column("prediction_id", sa.Text, nullable=False, index=True),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("observed_at", Time),
    sa.Column("source", sa.Text),
    sa.Column("received", Time, nullable=False),
    sqlite_autoincrement=True,
)
"""Ground truth, only appended: the label of a prediction is its event with the highest ``seq``."""


WINDOWS = sa.Table(
    "monitor_windows",
    METADATA,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("size", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("start", Time, nullable=False),
    sa.Column("end", Time, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("found", sa.JSON, nullable=False),
)
"""Windows that the monitor has judged: those of a model, a stream (inputs or truth) and a size count
from 1, and ``last`` is the number of the last row that they read."""

ALARMS = sa.Table(
    "monitor_alarms",
    METADATA,
    sa.Column("id", Number, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("size", sa.Text, nullable=False),
    sa.Column("monitor", sa.Text, nullable=False),
    sa.Column("column", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("opened", Time, nullable=False),
    sa.Column("updated", Time, nullable=False),
    sa.Column("windows", sa.Integer, nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
    sa.Column("because", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)
"""Episodes of alarm: ``state`` is open, acknowledged or closed, and ``because`` says why."""

THRESHOLDS = sa.Table(
    "monitor_thresholds",
    METADATA,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("settings", sa.Text, primary_key=True),
    sa.Column("rows", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("limits", sa.JSON, nullable=False),
)
"""Thresholds of a model for windows of so many rows, simulated once under these settings."""

MONITORED = sa.Table(
    "monitor_state",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("at", Time, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
)
"""What the monitor last left: page and metrics for the service to show, and the retrainings of ``--act``."""


def prepare(connection: sa.Connection, name: str) -> None:
    """Create the tables that are missing; none that is there changes.

    Parameters
    ----------
    connection : Connection
        In a transaction that excludes others that write.
    name : str
        Of the database, for messages.

    Raises
    ------
    PredictionLogError
        When the tables are of a version that is not known here, or of another program.
    """
    tables = sa.inspect(connection).get_table_names()
    newest = sa.select(sa.func.max(VERSION.c.version))
    found = connection.scalar(newest) if VERSION.name in tables else None
    if found == SCHEMA_VERSION:
        return
    if found != OLDEST and not METADATA.tables.keys().isdisjoint(tables):
        raise PredictionLogError(
            f"{name} has tables of another program, or of version {found} of the prediction log; this"
            f" mlref reads and writes version {SCHEMA_VERSION}. Use the mlref that wrote it, or let"
            " MLREF_LOG_URL name another database."
        )
    METADATA.create_all(connection)
    connection.execute(VERSION.insert().values(version=SCHEMA_VERSION))


def insert(connection: sa.Connection, rows: Rows) -> None:
    """Add rows; those that are there already are passed over.

    The driver takes them as they are: Core would convert value by value, for three times the time.
    """
    for table, part in rows.items():
        _, *names = (f'"{column.name}"' for column in table.columns)
        marks = [_MARK[connection.dialect.name]] * len(names)
        into = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join(marks)})"
        if part:
            connection.exec_driver_sql(f"{into} ON CONFLICT DO NOTHING", part)
