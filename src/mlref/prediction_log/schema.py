"""The tables of the prediction log, and the check that a database has this version of them."""

import datetime
import importlib
from typing import Any

import sqlalchemy as sa

from mlref.core.errors import PredictionLogError

SCHEMA_VERSION = 1
"""Goes up with every change to a table; the database says by which it was made."""

_CREATION = 7_091_975_403
"""Number of the lock that lets one process at a time create tables in PostgreSQL."""

Text = sa.Text


class Time(sa.TypeDecorator[datetime.datetime]):
    """A moment in UTC: with its time zone in PostgreSQL, as ISO 8601 text in SQLite, which has no type."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True
    """Whether SQLAlchemy may keep statements with it."""

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        """Choose the type of the database."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else self.impl_instance)

    def process_bind_param(self, value: datetime.datetime | None, dialect: sa.Dialect) -> Any:
        """Turn a moment into what is stored."""
        return to_text(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime.datetime | None:
        """Turn what is stored into a moment."""
        moment = datetime.datetime.fromisoformat(value) if isinstance(value, str) else value
        return None if moment is None else moment.astimezone(datetime.UTC)


def to_text(moment: datetime.datetime) -> str:
    """A moment as text that sorts by time.

    Examples
    --------
    >>> cet = datetime.timezone(datetime.timedelta(hours=1))
    >>> to_text(datetime.datetime(2026, 11, 24, 13, tzinfo=cet))
    '2026-11-24T12:00:00.000000+00:00'
    """
    return moment.astimezone(datetime.UTC).isoformat(timespec="microseconds")


METADATA = sa.MetaData()

VERSION = sa.Table(
    "prediction_log_version", METADATA, sa.Column("version", sa.Integer, primary_key=True)
)
"""One row: by which version of this module the tables were made."""

PREDICTIONS = sa.Table(
    "predictions",
    METADATA,
    # A challenger in shadow answers under the champion's id: one label judges both.
    sa.Column("id", Text, primary_key=True),
    sa.Column("role", Text, primary_key=True),
    sa.Column("at", Time, nullable=False),
    sa.Column("source", Text, nullable=False),
    sa.Column("version", Text, nullable=False),
    sa.Column("digest", Text, nullable=False),
    sa.Column("features", sa.JSON, nullable=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("lower", sa.Double, nullable=False),
    sa.Column("upper", sa.Double, nullable=False),
    sa.Column("warnings", sa.JSON, nullable=False),
    sa.Column("latency", sa.Double),
    sa.Column("request_id", Text),
    sa.Column("subject", Text),
    sqlite_with_rowid=False,
)
"""One row a prediction. ``features`` maps names to values, ``warnings`` lists the unusual ones' names."""

REFUSALS = sa.Table(
    "refusals",
    METADATA,
    sa.Column("id", Text, primary_key=True),
    sa.Column("at", Time, nullable=False),
    sa.Column("source", Text, nullable=False),
    sa.Column("version", Text, nullable=False),
    sa.Column("column", Text),
    sa.Column("reason", Text, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How many values of a column were refused for one reason, one row a written batch."""

LABELS = sa.Table(
    "labels",
    METADATA,
    sa.Column("prediction_id", Text, primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("observed_at", Time),
    sa.Column("source", Text),
    sa.Column("received", Time, nullable=False),
    sqlite_with_rowid=False,
)
"""What turned out true, at most once a prediction."""

RESULTS = sa.Table(
    "monitoring_results",
    METADATA,
    sa.Column("name", Text, primary_key=True),
    sa.Column("at", Time, primary_key=True),
    sa.Column("result", sa.JSON, nullable=False),
    sqlite_with_rowid=False,
)
"""What a check of the logged predictions found."""


def prepare(connection: sa.Connection, name: str) -> None:
    """Create the tables in a database that has none of them; check their version in another.

    Parameters
    ----------
    connection : Connection
        In a transaction; in SQLite one that may write.
    name : str
        Of the database, for messages.

    Raises
    ------
    PredictionLogError
        When the tables are of another version, or of another program.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION)))
    present = METADATA.tables.keys() & {*sa.inspect(connection).get_table_names()}
    if not present:
        METADATA.create_all(connection, checkfirst=False)
        connection.execute(VERSION.insert().values(version=SCHEMA_VERSION))
        return
    if VERSION.name not in present:
        raise PredictionLogError(
            f"{name} has a table {min(present)!r} that is not the prediction log's. Let MLREF_LOG_URL"
            " name a database of its own."
        )
    found = connection.scalar(sa.select(VERSION.c.version))
    if found != SCHEMA_VERSION:
        remedy = "Update mlref" if (found or 0) > SCHEMA_VERSION else "Go back to the older mlref"
        raise PredictionLogError(
            f"{name} has schema version {found} of the prediction log; this mlref reads and writes"
            f" version {SCHEMA_VERSION}. {remedy}, or let MLREF_LOG_URL name another database."
        )


def insertion(table: sa.Table, dialect: sa.Dialect) -> Any:
    """The statement that adds rows to a table and passes over those that it has already."""
    own = importlib.import_module(
        f"sqlalchemy.dialects.{dialect.name}"
    )  # it takes 60 ms to import both
    return own.insert(table).on_conflict_do_nothing()
