"""Judge what is new in the log: by model, by stream and by window, each closed window once."""

import contextlib
import datetime
import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mlref.bundle.store import Store
from mlref.core.errors import MlrefError
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, rounded
from mlref.monitoring import alarms, drift, performance
from mlref.monitoring.reference import reference
from mlref.monitoring.thresholds import Thresholds
from mlref.monitoring.windows import DAY, Rows, Size, cut, moment, of_inputs, of_labels, table
from mlref.prediction_log import monitored
from mlref.prediction_log.database import Database
from mlref.prediction_log.monitored import Alarm, JudgedWindow, RefusedValues
from mlref.prediction_log.reader import Period, stream, stream_labels


class Asked(NamedTuple):
    """What is to be judged.

    Parameters
    ----------
    size : Size
        Of the windows.
    since : datetime, optional
        Only rows that were predicted from then on.
    version : str, optional
        Only this model: version, alias or digest.
    unfinished : bool
        Whether windows that are still open are judged too; they are not kept.
    """

    size: Size
    since: datetime.datetime | None = None
    version: str | None = None
    unfinished: bool = False


class Outcome(NamedTuple):
    """What a run of the monitor found.

    Parameters
    ----------
    judged : list of JudgedWindow
        Windows that are new.
    unfinished : list of JudgedWindow
        Open windows, where they were asked for.
    alarms : list of Alarm
        Those that are open now, and those that the new windows opened and closed again.
    notes : list of str
        What was not judged, and why.
    """

    judged: list[JudgedWindow]
    unfinished: list[JudgedWindow]
    alarms: list[Alarm]
    notes: list[str]

    @property
    def alert(self) -> bool:
        """Whether there is an alarm, in an open window too."""
        found = itertools.chain.from_iterable(map(drift.findings, self.unfinished))
        return bool(self.alarms) or any(one.alarm for one in found)


class Model:
    """A model whose windows are judged; MlrefError when the store has no such version, alias or digest."""

    def __init__(
        self, project: Project, name: str, asked: Asked, now: float, database: Database | None
    ) -> None:
        predictor, record = Store(project.store).open(name)
        self.settings, self.asked, self.now = load_settings(project.params), asked, now
        self.digest, self.version = predictor.digest, str(record["version"])
        self.created, self.known = record.get("created"), reference(predictor)
        self.smallest = self.settings.monitor.smallest_window
        self.thresholds = Thresholds(database, self.digest, self.known, self.settings.monitor)

    def collect(
        self, parts: Iterable[Rows], outcome: Outcome, before: JudgedWindow,
        refused: Sequence[RefusedValues] = (),
    ) -> list[JudgedWindow]:  # fmt: skip
        """Judge what follows a window and return the closed ones; the open one is shown or waits."""
        closed = []
        for window, over in self._windows(parts, before, refused):
            if over:
                closed.append(window)
            elif self.asked.unfinished:
                outcome.unfinished.append(window)
            else:
                outcome.notes.append(self._waiting(window))
        return closed

    def nothing(self, kind: str) -> JudgedWindow:
        """What a stream begins with: a window before the first one."""
        size = str(self.asked.size)
        return JudgedWindow(self.digest, self.version, kind, size, 0, "", "", 0, 0, {"carried": {}})

    def _windows(
        self, parts: Iterable[Rows], before: JudgedWindow, refused: Sequence[RefusedValues]
    ) -> Iterator[tuple[JudgedWindow, bool]]:
        size, least = self.asked.size, self.settings.gate.smallest_slice
        no_rows = table(np.empty((0, len(self.known.contract.names))))
        cuts = cut(parts, size, self.smallest, self.now)
        for rows, over in itertools.chain(cuts, [(no_rows, False)]):
            # what was rejected after the last row of a closed window belongs to the next one
            end = rows.time.max() if over else np.inf
            count = next((at for at, one in enumerate(refused) if one.at > end), len(refused))
            here, refused = refused[:count], refused[count:]
            times = np.append(rows.time, [one.at for one in here])
            if not len(times):
                continue
            if here and not over:
                total = len(rows) + sum(one.count for one in here)
                over = size.over(total, times.max(), self.smallest, self.now)
            carried = before.found["carried"]
            if before.stream == "inputs":
                found = drift.judge(self.thresholds, rows, carried, self.smallest, here)
            else:
                found = performance.judge(self.thresholds, rows, carried, least)
            if here:
                found.carried["refused"] = here[-1].arrival
            before = before._replace(
                number=before.number + 1, start=moment(times.min()), end=moment(times.max()),
                rows=len(rows), last=int(rows.position.max(initial=before.last)),
                found=found._asdict(),
            )  # fmt: skip
            yield before._replace(found=rounded(before.found)), over

    def _waiting(self, window: JudgedWindow) -> str:
        said = f"Version {self.version}: {window.rows}"
        if self.thresholds.database is None:
            return f"{said} rows are no window."
        until = f"has {max(self.asked.size.rows, self.smallest)} rows"
        until = f"is over and {until}" if self.asked.size.days else until
        what = "labels" if window.stream == "truth" else "predictions"
        return f"{said} {what} wait until their window {until}."


def run(project: Project, asked: Asked, now: datetime.datetime) -> Outcome:
    """Judge the new windows of every model that served, and keep what they show.

    Parameters
    ----------
    project : Project
        Whose log and bundle store are read.
    asked : Asked
        What is to be judged.
    now : datetime
        Until when, with a time zone.

    Raises
    ------
    MlrefError
        When another monitor judges the same windows, or no such model is in the store.
    EnvironmentFault
        When the database cannot be reached; what was kept until then stays.
    """
    outcome = Outcome([], [], [], [])
    only = Store(project.store).resolve(asked.version) if asked.version else None
    with contextlib.closing(Database.of(project)) as database:
        served = monitored.served(database)
        newest = next((one for one in reversed(served) if one.digest), None)
        for one in served:
            name = one.digest or one.version
            try:
                model = Model(project, name, asked, now.timestamp(), database)
            except MlrefError as error:
                outcome.notes.append(f"Rows of version {one.version} are not judged: {error}")
                continue
            if only in (None, model.digest):
                _judge(database, model, outcome)
                if one == newest:
                    outcome.notes.extend(_stale(database, model))
        if newest and not only:
            close = partial(alarms.superseded, serving=newest.digest, version=newest.version)
            monitored.keep(database, [], close)
        open_now = monitored.alarms(database, state="open")
    there = {alarm.id for alarm in open_now}
    outcome.alarms[:] = [*open_now, *(one for one in outcome.alarms if one.id not in there)]
    return outcome


def _judge(database: Database, model: Model, outcome: Outcome) -> None:
    """Judge both streams of a model and keep the closed windows, with what follows for the alarms."""
    known, since = model.known, model.asked.since
    tomorrow = datetime.datetime.fromtimestamp(model.now + DAY, datetime.UTC)
    period = Period(since, tomorrow) if since else None
    if known.residuals is None:
        outcome.notes.append(
            f"Predictions and losses of version {model.version} are shown and not judged: its bundle has no"
            " out-of-fold errors. `make train` makes one that has."
        )
    for kind in ("inputs", "truth"):
        before = _latest(database, model, kind)
        wanted: Any = {"after": before.last, "period": period, "digest": model.digest}
        refused = list[RefusedValues]()
        if kind == "truth":
            parts = map(of_labels, stream_labels(database, known.contract, **wanted))
        else:
            parts = map(of_inputs, stream(database, known.contract, role="champion", **wanted))
            after = before.found["carried"].get("refused", 0)
            refused = monitored.refusals(database, model.version, after)
            refused = [one for one in refused if not since or one.at >= since.timestamp()]
        if closed := model.collect(parts, outcome, before, refused):
            follow = partial(alarms.follow, judged=closed, training_rows=known.rows)
            outcome.alarms.extend(monitored.keep(database, closed, follow))
            outcome.judged.extend(closed)


def _latest(database: Database, model: Model, kind: str) -> JudgedWindow:
    """The window from which a stream goes on."""
    first = model.nothing(kind)
    same = {"digest": first.digest, "stream": kind, "size": first.size}
    return next(iter(monitored.windows(database, 1, by="number", **same)), first)


def _stale(database: Database, model: Model) -> Iterator[str]:
    """Say that the model that serves, or what is known of its error, is old."""
    limit = model.settings.monitor.max_age_days
    for what, since in (
        (f"Version {model.version} was made", model.created),
        (f"The last judged label of version {model.version} arrived", _latest(database, model, "truth").end),
    ):  # fmt: skip
        made = datetime.datetime.fromisoformat(since).timestamp() if since else model.now
        if (days := int((model.now - made) // DAY)) > limit:
            yield f"{what} {days} days ago: it is stale, since config/params.yaml allows {limit:g} days."
