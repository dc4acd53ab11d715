"""A log in a SQLite file; tests/system runs the same tests on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlref.prediction_log.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database in a file of the test's own."""
    database = Database("sqlite:///log.db", tmp_path)
    yield database
    database.close()
