"""Open the database of the prediction log by its URL: SQLite or PostgreSQL.

A URL may hold a password, so messages say where the database is and nothing else of the URL.
"""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from mlref.core.errors import EnvironmentFault, PredictionLogError
from mlref.core.storage import Project
from mlref.prediction_log import schema

URL = "MLREF_LOG_URL"
PATIENCE = 5
"""Seconds to wait for a connection, and for another process to finish writing to a SQLite file."""

WAITING = "waiting.db"
"""Name of the fallback, in the folder of MLREF_LOG_SPOOL."""

_EXCLUDE = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(7091975403)"}
"""Lets one transaction write at a time, so that rows are numbered in the order of their commits."""

_LOG = logging.getLogger("mlref.prediction_log")


class Database:
    """A database for the log, connected to and checked at first use.

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
        The file of a SQLite database.

    Raises
    ------
    PredictionLogError
        For text that is no URL, or the URL of another kind of database.
    """

    def __init__(self, url: str, root: Path) -> None:
        parsed = _parsed(url)
        self.file: Path | None = None
        if parsed.get_backend_name() == "sqlite":
            self.file = root / (parsed.database or "")
            self.name = f"The prediction log {self.file}"
            parsed = parsed.set(database=str(self.file))
            limits: dict[str, Any] = {"timeout": PATIENCE}
        else:
            self.name = f"The prediction log at {parsed.host or 'localhost'}:{parsed.port or 5432}"
            # A server that hangs, or a network that swallows packets, is as good as away.
            waits = f"-c statement_timeout={6000 * PATIENCE}"
            limits = {"connect_timeout": PATIENCE, "options": waits}
            limits |= {"tcp_user_timeout": 1000 * PATIENCE, **parsed.query}
        self.engine = sa.create_engine(
            parsed, connect_args=limits, hide_parameters=True, pool_pre_ping=not self.file
        )
        if self.file is not None:
            sa.event.listen(self.engine, "connect", self._set_up)
            sa.event.listen(self.engine, "checkout", self._look)

    @classmethod
    def of(cls, project: Project) -> "Database":
        """Open the database that MLREF_LOG_URL names, or else the file in the clone."""
        return cls(os.environ.get(URL) or f"sqlite:///{project.log}", project.root)

    @classmethod
    def fallback(cls, project: Project) -> "Database":
        """Open the SQLite file in which rows wait while the database is away."""
        return cls(f"sqlite:///{project.spool / WAITING}", project.root)

    @contextlib.contextmanager
    def begin(self, only_read: bool = False) -> Iterator[sa.Connection]:
        """Begin a transaction, committed at the end of the block; one that may write excludes the others.

        Raises
        ------
        PredictionLogError
            When the tables are of a newer version.
        EnvironmentFault
            When the database cannot be reached, read or written.
        IntegrityError, DataError
            When it refuses a row.
        """
        exclude = _EXCLUDE[self.engine.name]
        try:
            with self.engine.connect() as connection:
                if "ready" not in connection.info:
                    with connection.begin():
                        connection.exec_driver_sql(exclude)
                        schema.prepare(connection, self.name)
                    connection.info["ready"] = True
                with connection.begin():
                    if not only_read:
                        connection.exec_driver_sql(exclude)
                    yield connection
        except (exc.IntegrityError, exc.DataError):
            raise
        except (exc.SQLAlchemyError, OSError) as error:
            lines = str(getattr(error, "orig", None) or error).splitlines()
            reason = RuntimeError(lines[0] if lines else type(error).__name__)
            raise EnvironmentFault(f"{self.name} cannot be used", reason) from error

    def check(self) -> None:
        """Connect, and create or migrate the tables; EnvironmentFault also when nothing can be written."""
        with self.begin():
            pass

    def checkpoint(self) -> None:
        """Bring SQLite's journal into the file and empty it, so that nothing deleted stays in it."""
        if self.file is not None:
            with self.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """End all connections; the next use makes new ones."""
        self.engine.dispose()

    def _set_up(self, connection: Any, record: Any) -> None:
        """Let readers and the writer not wait for one another, and overwrite what is deleted."""
        connection.isolation_level = None  # the driver would begin by itself, not excluding others
        # Of two processes that turn it on at once, SQLite refuses one without a wait; the file has one mode.
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA secure_delete=ON")
        record.info["inode"] = self._inode()

    def _look(self, _connection: Any, record: Any, _proxy: object) -> None:
        """Let the pool connect anew when the file was deleted or replaced."""
        if record.info["inode"] != self._inode():
            _LOG.warning("%s was deleted or replaced, and is made anew.", self.name)
            raise exc.DisconnectionError

    def _inode(self) -> int:
        return self.file.stat().st_ino if self.file and self.file.exists() else 0


def _parsed(url: str) -> sa.URL:
    """Parse a URL. No error of the parser is passed on: it quotes what may be a password."""
    with contextlib.suppress(exc.ArgumentError, ValueError):
        parsed = sa.make_url(url)
        # A password with an @ or a / that is not escaped reaches into the parts behind it.
        askew = "@" in f"{parsed.host}{parsed.database}"
        if parsed.drivername in ("sqlite", "sqlite+pysqlite") and not parsed.host:
            if parsed.database and ":memory:" not in parsed.database:
                return parsed
        elif parsed.drivername in ("postgresql", "postgresql+psycopg") and not askew:
            return parsed.set(drivername="postgresql+psycopg")
    raise PredictionLogError(
        f"{URL} is not the address of a database; allowed: sqlite:///PATH or"
        " postgresql://USER:PASSWORD@HOST:PORT/DATABASE (write @ : / in a part as %40 %3A %2F)."  # pragma: allowlist secret
    )
