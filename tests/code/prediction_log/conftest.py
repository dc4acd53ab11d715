"""A clone without a log, in SQLite and on a PostgreSQL server."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlref.core.storage import Project
from mlref.prediction_log.database import Database
from tests.postgres import Postgres, running

PASSWORD = "password-of-the-log"  # pragma: allowlist secret
ONE_SERVER = pytest.mark.xdist_group("postgres")
"""Tests that one worker runs, so that the server is started once."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running server with the database `log`."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with running(port, "log", PASSWORD) as server:
        server.create("log")
        yield server


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A clone whose log is a file."""
    for name in ("MLREF_LOG_URL", "MLREF_LOG_SPOOL"):
        monkeypatch.delenv(name, raising=False)
    return Project(tmp_path)


@pytest.fixture
def remote(postgres: Postgres, local: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A clone whose log is an empty database on the server."""
    monkeypatch.setenv("MLREF_LOG_URL", postgres.url("log"))
    with contextlib.closing(Database.of(local)) as database:
        with database.engine.begin() as connection:
            connection.execute(sa.text("drop schema public cascade"))
            connection.execute(sa.text("create schema public"))
    return local


@pytest.fixture(params=["local", pytest.param("remote", marks=ONE_SERVER)])
def project(request: pytest.FixtureRequest) -> Project:
    """Each of them."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def database(project: Project) -> Iterator[Database]:
    """The database of its log."""
    with contextlib.closing(Database.of(project)) as database:
        yield database
