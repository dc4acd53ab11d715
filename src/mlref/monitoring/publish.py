"""Leave what the monitor knows where people and programs look: the page, the service's metrics, JSON."""

import contextlib
import datetime
import json
from collections.abc import Sequence
from pathlib import Path

from mlref.bundle.store import Store
from mlref.core.errors import MlrefError
from mlref.core.storage import Project, write_bytes, write_json
from mlref.monitoring import report
from mlref.monitoring.reference import Reference, reference
from mlref.monitoring.run import Asked, Outcome
from mlref.prediction_log import monitored
from mlref.prediction_log.database import Database


def publish(project: Project, asked: Asked, outcome: Outcome, now: datetime.datetime) -> None:
    """Write the page to reports/monitoring, and leave it with the metrics in the log's database.

    Raises
    ------
    EnvironmentFault
        When disk or database refuse; what was there before stays.
    """
    with contextlib.closing(Database.of(project)) as database:
        windows = monitored.windows(database, 2 * report.SHOWN, size=str(asked.size))
        alarms = monitored.alarms(database)
        page = report.page(windows, alarms, _reference(project, windows), outcome.notes, now)
        metrics = report.metrics(windows, alarms, now)
        monitored.leave(database, now, page=page, metrics=json.dumps(metrics))
    write_bytes(project.monitoring, page.encode())


def _reference(project: Project, windows: Sequence[monitored.JudgedWindow]) -> Reference | None:
    """That of the model of the newest window whose model is still there."""
    store = Store(project.store)
    for window in reversed(windows):
        with contextlib.suppress(MlrefError):
            return reference(store.open(window.digest)[0])
    return None


def write(path: Path, outcome: Outcome) -> None:
    """Write what a run found as JSON."""
    write_json(
        path,
        {
            "windows": [one._asdict() for one in outcome.judged],
            "open_windows": [one._asdict() for one in outcome.unfinished],
            "alarms": [one._asdict() for one in outcome.alarms],
            "notes": outcome.notes,
        },
    )
