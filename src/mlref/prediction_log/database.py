"""Open the database of the prediction log by its URL: SQLite or PostgreSQL.

A URL may hold a password, so messages show where the database is and nothing else of it.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, SQLAlchemyError

from mlref.core.errors import EnvironmentFault, PredictionLogError
from mlref.core.storage import Project
from mlref.prediction_log import schema

URL = "MLREF_LOG_URL"
PATIENCE = 5
"""Seconds to wait for a connection, and for another process to finish writing to a SQLite file."""

_ALLOWED = (
    "sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"  # pragma: allowlist secret
    " (write @ : / in a part as %40 %3A %2F)"
)


class Database:
    """A database for the log; it is connected to, and checked, at first use.

    Parameters
    ----------
    url : str
        One of SQLAlchemy's for SQLite or PostgreSQL, such as ``sqlite:///log.db``.
    root : Path
        Where a relative path begins.

    Attributes
    ----------
    name : str
        Where it is, for messages.
    file : Path or None
        The file, when it is SQLite.

    Raises
    ------
    PredictionLogError
        For a URL that is none, or one of another kind of database.
    """

    def __init__(self, url: str, root: Path) -> None:
        parsed = _parsed(url)
        self.file: Path | None = None
        if parsed.get_backend_name() == "sqlite":
            self.file = root / (parsed.database or "")
            self.name = f"The prediction log {self.file}"
            parsed = parsed.set(database=str(self.file))
            options: dict[str, Any] = {"connect_args": {"timeout": PATIENCE}}
        else:
            where = parsed.host or "localhost"
            self.name = f"The prediction log at {where}" + f":{parsed.port}" * bool(parsed.port)
            # A server that hangs, or a network that swallows packets, is as good as away.
            limits = {
                "connect_timeout": PATIENCE, "tcp_user_timeout": 1000 * PATIENCE,
                "options": f"-c statement_timeout={6000 * PATIENCE}",
            }  # fmt: skip
            options = {
                "connect_args": {k: v for k, v in limits.items() if k not in parsed.query},
                "paramstyle": "format", "pool_pre_ping": True,
            }  # fmt: skip
        try:
            self.engine = sa.create_engine(
                parsed, hide_parameters=True, json_deserializer=orjson.loads,
                json_serializer=_to_json, **options,
            )  # fmt: skip
        except ImportError as error:
            raise PredictionLogError(
                f"{URL} needs the package {error.name}. Install it, or leave {URL} out to log to a"
                " SQLite file."
            ) from error
        if self.file is not None:
            sa.event.listen(self.engine, "connect", _set_up)
            sa.event.listen(self.engine, "begin", _begin)
        self._reading = self.engine.execution_options(only_read=True)
        self._checked = False

    @classmethod
    def of(cls, project: Project) -> "Database":
        """The database that MLREF_LOG_URL names, or else the file in the clone."""
        return cls(os.environ.get(URL) or f"sqlite:///{project.log}", project.root)

    @contextlib.contextmanager
    def begin(self, only_read: bool = False) -> Iterator[sa.Connection]:
        """A transaction, committed at the end of the block.

        Raises
        ------
        PredictionLogError
            When the tables are of another version.
        EnvironmentFault
            When the database cannot be reached, read or written.
        IntegrityError, DataError
            When it refuses a row.
        """
        try:
            if not self._checked:
                with self.engine.begin() as connection:
                    schema.prepare(connection, self.name)
                self._checked = True
            with (self._reading if only_read else self.engine).begin() as connection:
                yield connection
        except (IntegrityError, DataError):
            raise
        except (SQLAlchemyError, OSError) as error:
            lines = str(getattr(error, "orig", None) or error).splitlines()
            reason = RuntimeError(lines[0] if lines else type(error).__name__)
            raise EnvironmentFault(f"{self.name} cannot be used", reason) from error

    def check(self) -> None:
        """Connect, create the tables where there are none, and compare their version."""
        with self.begin(only_read=True):
            pass

    def checkpoint(self) -> None:
        """Bring SQLite's journal into the file and empty it, so that nothing deleted stays in it."""
        if self.file is not None:
            connection = self.engine.raw_connection()  # outside of a transaction
            try:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()

    def close(self) -> None:
        """End all connections; the next use makes new ones."""
        self.engine.dispose()


def _parsed(url: str) -> sa.URL:
    """The parts of a URL. No error of the parser is passed on: it quotes what may be a password."""
    with contextlib.suppress(ArgumentError, ValueError):
        parsed = sa.make_url(url)
        # A password with an @ or a / that is not escaped reaches into the parts behind it.
        askew = "@" in f"{parsed.host}{parsed.database}"
        if parsed.drivername in ("sqlite", "sqlite+pysqlite") and not parsed.host:
            if parsed.database and ":memory:" not in parsed.database:
                return parsed
        elif parsed.drivername in ("postgresql", "postgresql+psycopg") and not askew:
            return parsed.set(drivername="postgresql+psycopg")
    raise PredictionLogError(f"{URL} is not the address of a database; allowed: {_ALLOWED}.")


def _to_json(value: object) -> str:
    return orjson.dumps(value).decode()


def _set_up(connection: Any, _record: object) -> None:
    """Readers and the writer do not wait for one another; what is deleted is overwritten."""
    connection.isolation_level = None  # the driver would begin too late, after a first SELECT
    _use_wal(connection)
    for pragma in ("synchronous=NORMAL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _use_wal(connection: Any) -> None:
    """Turn the write-ahead log on; two who do at once are refused by SQLite, whatever its timeout."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        time.sleep(0.01)


def _begin(connection: sa.Connection) -> None:
    only_read = connection.get_execution_options().get("only_read")
    connection.exec_driver_sql("BEGIN" if only_read else "BEGIN IMMEDIATE")
