"""A clone without a log, in SQLite; tests/system runs the same tests on PostgreSQL."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlref.core.storage import Project
from mlref.prediction_log.database import Database


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A clone whose log is a file."""
    for name in ("MLREF_LOG_URL", "MLREF_LOG_SPOOL"):
        monkeypatch.delenv(name, raising=False)
    return Project(tmp_path)


@pytest.fixture
def project(local: Project) -> Project:
    """A clone whose log is a file, or in tests/system on a server."""
    return local


@pytest.fixture
def database(project: Project) -> Iterator[Database]:
    """The database of its log."""
    with contextlib.closing(Database.of(project)) as database:
        yield database
