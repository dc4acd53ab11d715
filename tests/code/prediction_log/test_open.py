"""The log of a clone is opened by the environment, and refused where that makes no sense."""

from pathlib import Path

import pytest

from mlref.core.errors import EnvironmentFault, PredictionLogError
from mlref.core.storage import Project
from mlref.prediction_log.database import Database
from mlref.prediction_log.open import open_log
from tests.code.prediction_log.records import predicted, rows


def test_the_log_of_a_clone_is_ready_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file and its spool are in the clone."""
    monkeypatch.delenv("MLREF_LOG_SPOOL", raising=False)
    with open_log(Project(tmp_path)) as log:
        log.predictions(record := predicted(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "predictions.db", "predictions.db.spool",
    ]  # fmt: skip
    database = Database.of(Project(tmp_path))
    assert [row["id"] for row in rows(database)] == record.ids
    database.close()


def test_a_log_that_cannot_be_reached_is_refused_or_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As its owner prefers; what comes until then waits in the spool."""
    monkeypatch.setenv("MLREF_LOG_URL", "postgresql://log@127.0.0.1:1/log")
    project = Project(tmp_path)
    with pytest.raises(EnvironmentFault, match="The prediction log at 127.0.0.1:1 cannot be used"):
        open_log(project)
    with open_log(project, patient=True) as log:
        log.predictions(predicted(2))
    assert (log.written, log.dropped) == (0, 0)
    assert len([*project.spool.glob("*.jsonl")]) == 1
    assert f"Rows wait in {project.spool}." in caplog.messages[0]


def test_a_log_that_is_none_is_refused_even_by_the_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting would not mend it."""
    monkeypatch.setenv("MLREF_LOG_URL", "nonsense")
    with pytest.raises(PredictionLogError, match="is not the address of a database"):
        open_log(Project(tmp_path), patient=True)
