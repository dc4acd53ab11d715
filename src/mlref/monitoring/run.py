"""Judge what is new in the log: by model, by stream and by window, each closed window once."""

import contextlib
import datetime
import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mlref.bundle.store import Store
from mlref.core.contract import Contract
from mlref.core.digits import number
from mlref.core.errors import MlrefError
from mlref.core.settings import Settings
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, rounded
from mlref.monitoring import alarms, drift, joint, performance
from mlref.monitoring.drift import Finding, Judgement
from mlref.monitoring.reference import Reference, reference
from mlref.monitoring.thresholds import REASONS, SHARES, Thresholds
from mlref.monitoring.windows import Rows, Size, cut, none, of_inputs, of_labels
from mlref.prediction_log import monitored
from mlref.prediction_log.database import Database
from mlref.prediction_log.ids import to_text
from mlref.prediction_log.monitored import Alarm, JudgedWindow, RefusedValues
from mlref.prediction_log.reader import Period, stream, stream_labels

Judged = tuple[JudgedWindow, list[Finding], dict[Any, dict[str, Any]]]
"""A window, its findings, and the evidence of each alarm by monitor and column."""


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


class Subject(NamedTuple):
    """A model whose rows are judged."""

    database: Database
    digest: str
    version: str
    reference: Reference
    thresholds: Thresholds
    settings: Settings
    asked: Asked
    now: datetime.datetime

    @property
    def contract(self) -> Contract:
        """The model's own."""
        return self.reference.contract

    def names(self, kind: str) -> tuple[str, str, str, str]:
        """Digest, version, stream and size of its windows."""
        return self.digest, self.version, kind, str(self.asked.size)

    def latest(self, stream: str) -> JudgedWindow | None:
        """The window from which a stream goes on."""
        return monitored.latest(self.database, self.digest, stream, str(self.asked.size))

    def cut(self, parts: Iterable[Rows]) -> Iterator[tuple[Rows, bool]]:
        """Windows of rows, and whether they are closed."""
        smallest = self.settings.monitor.smallest_window
        return cut(parts, self.asked.size, smallest, self.now.timestamp())

    def wanted(self, after: JudgedWindow | None) -> dict[str, Any]:
        """Which rows are read."""
        since = self.asked.since
        period = Period(since, self.now + datetime.timedelta(days=1)) if since else None
        return {"after": after.last if after else 0, "period": period, "digest": self.digest}


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
    settings, store = load_settings(project.params), Store(project.store)
    outcome = Outcome([], [], [], [])
    only = store.resolve(asked.version) if asked.version else None
    with contextlib.closing(Database.of(project)) as database:
        models = monitored.served(database)
        newest = next((model for model in reversed(models) if model.digest), None)
        for model in models:
            try:
                predictor, record = store.open(model.digest or model.version)
            except MlrefError as error:
                outcome.notes.append(f"Rows of version {model.version} are not judged: {error}")
                continue
            digest, version = predictor.digest, str(record["version"])
            if only not in (None, digest):
                continue
            known = reference(predictor)
            thresholds = Thresholds(database, digest, known, settings.monitor)
            subject = Subject(database, digest, version, known, thresholds, settings, asked, now)
            if known.residuals is None:
                outcome.notes.append(
                    f"Predictions and losses of version {version} are shown and not judged: its bundle has"
                    " no out-of-fold errors. `make train` makes one that has."
                )
            for one in (_inputs(subject), _truth(subject)):
                _keep(subject, one, outcome)
            if model == newest:
                outcome.notes.extend(_stale(subject, record.get("created")))
        if newest and not only:
            close = partial(alarms.superseded, serving=newest.digest, version=newest.version)
            monitored.keep(database, [], close)
        open_now = monitored.alarms(database, state="open")
    there = {alarm.id for alarm in open_now}
    outcome.alarms[:] = [*open_now, *(one for one in outcome.alarms if one.id not in there)]
    return outcome


def _keep(subject: Subject, found: Iterator[tuple[Judged, bool]], outcome: Outcome) -> None:
    """Keep the closed windows of a stream, with what follows for the alarms."""
    closed: list[Judged] = []
    for judged, over in found:
        if over:
            closed.append(judged)
        elif subject.asked.unfinished:
            outcome.unfinished.append(judged[0])
        else:
            outcome.notes.append(_waiting(subject, judged[0]))
    if closed:
        windows = [one for one, *_ in closed]
        opened = monitored.keep(
            subject.database, windows, lambda active: alarms.follow(active, closed)
        )
        outcome.judged.extend(windows)
        outcome.alarms.extend(opened)


def _stale(subject: Subject, created: str | None) -> Iterator[str]:
    """Say that the model that serves, or what is known of its error, is old."""
    limit, labels = subject.settings.monitor.max_age_days, subject.latest("truth")
    for what, since in (
        (f"Version {subject.version} was made", created),
        (f"The last judged label of version {subject.version} arrived", labels and labels.end),
    ):
        days = (subject.now - datetime.datetime.fromisoformat(since)).days if since else 0
        if days > limit:
            yield f"{what} {days} days ago: it is stale, since config/params.yaml allows {limit:g} days."


def _waiting(subject: Subject, window: JudgedWindow) -> str:
    what = "labels wait" if window.stream == "truth" else "predictions wait"
    smallest = subject.settings.monitor.smallest_window
    until = f"has {max(subject.asked.size.rows, smallest)} rows"
    if subject.asked.size.days:
        until = f"is over and has {smallest} rows"
    return f"Version {window.version}: {window.rows} {what} until their window {until}."


def _inputs(subject: Subject) -> Iterator[tuple[Judged, bool]]:
    before = subject.latest("inputs")
    carried = before.found["carried"] if before else {}
    refused = monitored.refusals(subject.database, subject.version, carried.get("refused", 0))
    since = subject.asked.since.timestamp() if subject.asked.since else 0.0
    refused = [one for one in refused if one.at >= since]
    size, smallest = subject.asked.size, subject.settings.monitor.smallest_window
    chunks = stream(subject.database, subject.contract, role="champion", **subject.wanted(before))
    nothing = none(subject.contract), False
    for rows, over in itertools.chain(subject.cut(map(of_inputs, chunks)), [nothing]):
        end = float(rows.time.max()) if rows.count else 0.0
        count = len(refused)
        if over:  # what was rejected after its last row belongs to the next window
            count = next((at for at, one in enumerate(refused) if one.at > end), count)
        here, refused = refused[:count], refused[count:]
        if not (rows.count or here):
            continue
        if here and not over:
            total = rows.count + sum(one.count for one in here)
            over = total >= smallest and size.over(
                total, max(end, here[-1].at), subject.now.timestamp()
            )
        judgement = drift.judge(
            subject.reference, subject.thresholds, rows, here, carried, smallest
        )
        carried = judgement.carried | {
            "refused": here[-1].arrival if here else carried.get("refused", 0)
        }
        before = window(
            subject.names("inputs"), before, rows, judgement._replace(carried=carried), here
        )
        yield (before, judgement.findings, evidences(subject.reference, judgement, rows)), over


def _truth(subject: Subject) -> Iterator[tuple[Judged, bool]]:
    before = subject.latest("truth")
    carried = before.found["carried"] if before else {}
    slice_rows = subject.settings.gate.smallest_slice
    chunks = stream_labels(subject.database, subject.contract, **subject.wanted(before))
    for rows, over in subject.cut(map(of_labels, chunks)):
        judgement = performance.judge(
            subject.reference, subject.thresholds, rows, carried, slice_rows
        )
        carried = judgement.carried
        before = window(subject.names("truth"), before, rows, judgement)
        yield (before, judgement.findings, evidences(subject.reference, judgement, rows)), over


def window(
    names: tuple[str, str, str, str], before: JudgedWindow | None, rows: Rows, judgement: Judgement,
    refused: Sequence[RefusedValues] = (),
) -> JudgedWindow:  # fmt: skip
    """Put together what is stored of a window, after the one before it.

    Parameters
    ----------
    names : tuple of str
        Digest, version, stream and size.
    """
    digest, version, kind, size = names
    times = np.concatenate([rows.time, [one.at for one in refused]])
    return JudgedWindow(
        digest=digest,
        version=version,
        stream=kind,
        size=size,
        number=before.number + 1 if before else 1,
        start=_text(float(times.min())),
        end=_text(float(times.max())),
        rows=rows.count,
        last=int(rows.position[-1]) if rows.count else (before.last if before else 0),
        found=rounded({
            "findings": [[*finding] for finding in judgement.findings],
            "facts": judgement.facts,
            "carried": judgement.carried,
        }),
    )  # fmt: skip


def evidences(known: Reference, judgement: Judgement, rows: Rows) -> dict[Any, dict[str, Any]]:
    """The evidence of each alarm of a window, by monitor and column."""
    return {
        (one.monitor, one.column): alarms.evidence(known, one, rows, judgement.facts)
        for one in judgement.findings
        if one.alarm
    }


def _text(seconds: float) -> str:
    return to_text(datetime.datetime.fromtimestamp(seconds, datetime.UTC))


def explained(project: Project, asked: Asked) -> tuple[list[list[str]], str]:
    """All simulated thresholds of a model with their reasons, and what tells its last rows from its first.

    Returns
    -------
    thresholds : list of list of str
        Monitor, column, threshold, false alarms a month, reason.
    joint : str
        A sentence; empty where there are too few rows to tell.
    """
    settings, store = load_settings(project.params).monitor, Store(project.store)
    predictor, _ = store.open(asked.version or "champion")
    contract, digest = predictor.contract, predictor.digest
    with contextlib.closing(Database.of(project)) as database:
        rows = asked.size.rows or settings.smallest_window
        limits = Thresholds(database, digest, reference(predictor), settings).at(rows)
        found = stream(database, contract, role="champion", digest=digest)
        before, after = joint.first_and_last(found)
    share, said = settings.alarms_a_month, ""
    if len(before) >= settings.smallest_window:
        told = joint.tell(contract, before, after, settings.seed)
        said = (
            f"A classifier tells the last {told.rows} rows from the first {told.rows} with an AUC of"
            f" {number(told.auc)} (0.5 is chance); {told.column} alone with {number(told.alone)}."
        )
    return [
        [monitor, column, number(limit), number(share * SHARES[monitor]), REASONS[monitor]]
        for monitor, columns in limits.items()
        for column, limit in columns.items()
    ], said
