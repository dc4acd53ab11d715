"""Open the database of the prediction log by its URL: SQLite or PostgreSQL.

A URL may hold a password, so messages say where the database is and nothing else of the URL.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, SQLAlchemyError

from mlref.core.errors import EnvironmentFault, PredictionLogError
from mlref.core.storage import Project
from mlref.prediction_log import schema

URL = "MLREF_LOG_URL"
PATIENCE = 5
"""Seconds to wait for a connection, and for another process to finish writing to a SQLite file."""

WAITING = "waiting.db"
"""Name of the fallback, in the folder of MLREF_LOG_SPOOL."""

_ALLOWED = (
    "sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"  # pragma: allowlist secret
    " (write @ : / in a part as %40 %3A %2F)"
)


class Database:
    """A database for the log, connected to and checked at first use.

    Parameters
    ----------
    url : str
        One of SQLAlchemy's for SQLite or PostgreSQL, such as ``sqlite:///log.db``.
    root : Path
        Where a relative path begins.
    metadata : MetaData
        The tables: ``schema.METADATA`` or ``schema.FALLBACK``.

    Attributes
    ----------
    name : str
        Where it is, for messages.
    file : Path or None
        The file of a SQLite database.

    Raises
    ------
    PredictionLogError
        For text that is no URL, or the URL of another kind of database.
    """

    def __init__(self, url: str, root: Path, metadata: sa.MetaData = schema.METADATA) -> None:
        parsed = _parsed(url)
        self.file: Path | None = None
        if parsed.get_backend_name() == "sqlite":
            self.file = root / (parsed.database or "")
            self.name = f"The prediction log {self.file}"
            parsed = parsed.set(database=str(self.file))
            options: dict[str, Any] = {"connect_args": {"timeout": PATIENCE}}
        else:
            port = f":{parsed.port}" if parsed.port else ""
            self.name = f"The prediction log at {parsed.host or 'localhost'}{port}"
            # A server that hangs, or a network that swallows packets, is as good as away.
            limits = {
                "connect_timeout": PATIENCE, "tcp_user_timeout": 1000 * PATIENCE,
                "options": f"-c statement_timeout={6000 * PATIENCE}",
            } | dict(parsed.query)  # fmt: skip
            options = {"connect_args": limits, "paramstyle": "format", "pool_pre_ping": True}
        options |= {"hide_parameters": True, "json_deserializer": msgspec.json.decode}
        try:
            self.engine = sa.create_engine(parsed, **options)
        except ImportError as error:
            raise PredictionLogError(
                f"{URL} needs the package {error.name}. Install it, or leave {URL} out to log to a"
                " SQLite file."
            ) from error
        if self.file is not None:
            sa.event.listen(self.engine, "connect", _set_up)
            sa.event.listen(self.engine, "begin", _begin)
        self._reading = self.engine.execution_options(only_read=True)
        self._metadata, self._opened = metadata, 0

    @classmethod
    def of(cls, project: Project) -> "Database":
        """Open the database that MLREF_LOG_URL names, or else the file in the clone."""
        return cls(os.environ.get(URL) or f"sqlite:///{project.log}", project.root)

    @classmethod
    def fallback(cls, project: Project) -> "Database":
        """Open the SQLite file in which rows wait while the database is away."""
        return cls(f"sqlite:///{project.spool / WAITING}", project.root, schema.FALLBACK)

    @contextlib.contextmanager
    def begin(self, only_read: bool = False) -> Iterator[sa.Connection]:
        """Begin a transaction, committed at the end of the block.

        Raises
        ------
        PredictionLogError
            When the tables are of a newer version.
        EnvironmentFault
            When the database cannot be reached, read or written.
        IntegrityError, DataError
            When it refuses a row.
        """
        try:
            if not self._opened:
                with self.engine.begin() as connection:
                    schema.prepare(connection, self.name, self._metadata)
                self._opened = self._inode()
            with (self._reading if only_read else self.engine).begin() as connection:
                yield connection
        except (IntegrityError, DataError):
            raise
        except (SQLAlchemyError, OSError) as error:
            lines = str(getattr(error, "orig", None) or error).splitlines()
            reason = RuntimeError(lines[0] if lines else type(error).__name__)
            raise EnvironmentFault(f"{self.name} cannot be used", reason) from error

    def check(self) -> None:
        """Connect, and create or migrate the tables; EnvironmentFault also when nothing can be written."""
        with self.begin():
            pass

    def renew(self) -> bool:
        """Let go of a SQLite file that was deleted or replaced, so that the next use opens its path anew.

        Returns
        -------
        bool
            Whether it was.
        """
        if not self._opened or self._inode() == self._opened:
            return False
        self.close()
        self._opened = 0
        return True

    def _inode(self) -> int:
        try:
            return self.file.stat().st_ino if self.file else 1
        except OSError:
            return -1

    def checkpoint(self) -> None:
        """Bring SQLite's journal into the file and empty it, so that nothing deleted stays in it."""
        if self.file is not None:
            with contextlib.closing(self.engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """End all connections; the next use makes new ones."""
        self.engine.dispose()


def _parsed(url: str) -> sa.URL:
    """Parse a URL. No error of the parser is passed on: it quotes what may be a password."""
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


def _set_up(connection: Any, _record: object) -> None:
    """Let readers and the writer not wait for one another, and overwrite what is deleted."""
    connection.isolation_level = None  # the driver would begin too late, after a first SELECT
    # Of two processes that turn it on at once, SQLite refuses one without a wait; the file has one mode.
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA secure_delete=ON")


def _begin(connection: sa.Connection) -> None:
    only_read = connection.get_execution_options().get("only_read")
    connection.exec_driver_sql("BEGIN" if only_read else "BEGIN IMMEDIATE")
