"""Act on what the monitor found: roll a bad promotion back, and retrain once for an episode of alarm.

A retraining is written down before it begins. After a crash the next run goes on with it, since retraining
and rolling back change nothing that is done already.
"""

import contextlib
import datetime
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mlref.bundle.store import Store
from mlref.core.contract import load as load_contract
from mlref.core.errors import EnvironmentFault, MlrefError
from mlref.core.settings import Settings
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, locked
from mlref.monitoring import rollback
from mlref.monitoring.alarms import sentence
from mlref.monitoring.thresholds import WINDOWS
from mlref.prediction_log import monitored
from mlref.prediction_log.database import Database
from mlref.prediction_log.monitored import Alarm, JudgedWindow
from mlref.registry import audit
from mlref.registry.register import Since
from mlref.sources.retrain import labelled, retrain

ACTS = "acts"
"""Where the retrainings stand in the log's database."""

HISTORY = 1000
"""Windows in which the beginning of a change is looked for."""

MILLISECOND = datetime.timedelta(milliseconds=1)

Report = Callable[[str], None]


class Retraining(NamedTuple):
    """A retraining that an alarm asked for.

    Parameters
    ----------
    alarm : int
        Number of the episode.
    at : str
        End of the newest window of labels when it began.
    since : str
        When the concept changed.
    because : str
        The alarm's evidence.
    said : str
        What came of it; empty until it has ended.
    """

    alarm: int
    at: str
    since: str
    because: str
    said: str = ""


def act(project: Project, size: str, report: Report = lambda line: None) -> list[str]:
    """Do what the policy in config/params.yaml allows.

    Parameters
    ----------
    size : str
        Of the windows whose alarms count, such as ``1d`` or ``200``.
    report : callable
        Takes a line for each stage of a retraining.

    Returns
    -------
    list of str
        What was done, and what is waited for.

    Raises
    ------
    EnvironmentFault
        When disk or database cannot be used; the next run goes on.
    """
    try:
        with (
            locked(project.store / ".act", wait=False),
            contextlib.closing(Database.of(project)) as database,
        ):
            return [line for line in _act(project, database, size, report) if line]
    except BlockingIOError:
        return ["Another `mlref monitor --act` is at work, so this one does nothing."]


def _act(project: Project, database: Database, size: str, report: Report) -> Iterator[str]:
    settings, store = load_settings(project.params), Store(project.store)
    done = [Retraining(*one) for one in json.loads(monitored.show(database, ACTS) or "[]")]
    if not done or done[-1].said:
        before = store.alias("champion")
        yield rollback.run(project, database, settings)
        if store.alias("champion") != before:
            return
        due = _due(project, database, store, settings, size, done)
        if not isinstance(due, Retraining):
            yield due
            return
        _, record = store.open("champion")
        why = f"{due.because}; it learns from the rows since {due.since[:19].replace('T', ' ')} UTC"
        audit.note(store, "retrain", record, why, since=due.since)
        done.append(due)
        _keep(database, done)
    last = done[-1]
    change = Since(datetime.datetime.fromisoformat(last.since), last.because)
    try:
        if (command := settings.act.command) == "retrain":
            said = retrain(project, change, report=report)
        else:
            said = _started(project, command)
    except EnvironmentFault:
        raise
    except MlrefError as error:
        said = f"Refused: {error}"
    done[-1] = last._replace(said=said)
    _keep(database, done)
    yield f"Retrained for alarm {last.alarm}, on rows since {last.since}. {said}"


def _started(project: Project, command: str) -> str:
    """Run a command of mlref that is no part of the monitor; returns what it said."""
    words = [sys.executable, "-m", "mlref.cli", *command.split()]
    done = subprocess.run(words, cwd=project.root, capture_output=True, text=True)
    said = done.stderr.strip() if done.returncode else done.stdout.strip()
    if done.returncode == EnvironmentFault.exit_code:
        raise EnvironmentFault(f"`mlref {command}` failed", RuntimeError(said))
    return said


def _keep(database: Database, done: list[Retraining]) -> None:
    monitored.leave(database, datetime.datetime.now(datetime.UTC), **{ACTS: json.dumps(done)})


def _due(
    project: Project, database: Database, store: Store, settings: Settings, size: str,
    done: list[Retraining],
) -> Retraining | str:  # fmt: skip
    """The retraining that is to begin now; or what it waits for, empty where nothing asks for one."""
    policy, champion = settings.act, store.alias("champion")
    asking = [
        alarm
        for alarm in monitored.alarms(database, state="open", digest=champion, size=size)
        if {alarm.monitor, *alarm.evidence["also"]} & {*policy.alarms}
    ]
    if not asking:
        return ""
    acted = {one.alarm for one in done}
    waiting = [alarm for alarm in asking if alarm.id not in acted]
    if not waiting:
        return f"Alarm {asking[0].id} is open still after its retraining: a person has to look."
    alarm, windows = waiting[0], monitored.windows(database, WINDOWS, stream="truth", size=size)
    waits = f"Alarm {alarm.id} asks for a retraining, which waits"
    rested = sum(window.end > done[-1].at for window in windows) if done else WINDOWS
    if rested < policy.cool_down:
        return (
            f"{waits}: the last one was {rested} windows ago (act.cool_down: {policy.cool_down})."
        )
    if sum(one.at >= windows[0].end for one in done) >= policy.budget:
        return f"{waits} for a person: {policy.budget} in {WINDOWS} windows are spent (act.budget)."
    same = {"digest": alarm.digest, "stream": "truth", "size": size}
    since = changed(monitored.windows(database, HISTORY, **same), alarm)
    count = int(labelled(project, load_contract(project.contract)).after(since).sum())
    if count < settings.retrain.rows:
        return (
            f"{waits}: {count} of {settings.retrain.rows} labelled rows are there (retrain.rows)."
        )
    because, *_ = sentence(alarm).partition(". ")  # without the likely cause and the runbook
    return Retraining(alarm.id, windows[-1].end, since.isoformat(), because)


def changed(windows: Sequence[JudgedWindow], alarm: Alarm) -> datetime.datetime:
    """Tell when the concept changed: after the newest prediction of the last window before the alarm's cause.

    The cause begins with the first of the windows up to the alarm that each moved its CUSUM at least half
    as far as the window did in which the alarm began. Predictions have times in milliseconds.
    """
    windows = [window for window in windows if window.end <= alarm.opened]
    sums = {"loss", "bias"} & {alarm.monitor, *alarm.evidence["also"]} or {"loss"}
    states = [
        [window.found["carried"].get(name, {"": 0.0})[""] for name in sums] for window in windows
    ]
    moved = np.diff([0.0, *(max(map(np.max, state)) for state in states)])
    first = len(windows) - 1
    while first > 0 and moved[first - 1] >= moved[-1] / 2:
        first -= 1
    oldest, newest = windows[max(first - 1, 0)].found["facts"]["made"]
    last, beside = (newest, MILLISECOND) if first else (oldest, -MILLISECOND)
    return datetime.datetime.fromisoformat(last) + beside
