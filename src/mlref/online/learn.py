"""Follow the ground truth of the champion's predictions in the log, and learn from it."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import skops.io

from mlref.bundle.package import TRUSTED
from mlref.bundle.store import Store
from mlref.core.contract import Contract
from mlref.core.digits import interval
from mlref.core.errors import MlrefError, NotReproduced
from mlref.core.settings import Settings
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, locked
from mlref.core.task import task_of
from mlref.online import guards
from mlref.online.journal import resume, seal
from mlref.online.learner import Learner
from mlref.prediction_log.database import Database
from mlref.prediction_log.reader import labelled_share, stream_labels
from mlref.registry.learned import Event, write

BLOCK = 500
"""Batches that are written at once: as many as are learned again when the run is killed."""

RECENT = 500
"""Predictions in which a collapse of label coverage is looked for."""


class Session(NamedTuple):
    """A champion, the rows it was trained on, the learner that began from its weights, and its journal."""

    digest: str
    contract: Contract
    record: dict[str, Any]
    trained: Collection[str]
    settings: Settings
    learner: Learner
    journal: Path
    head: dict[str, Any]
    events: list[Event]

    @property
    def learned(self) -> list[Event]:
        """The events that moved the weights."""
        return [event for event in self.events if not event.why]


@contextlib.contextmanager
def opened(project: Project) -> Iterator[Session]:
    """Learn the journal again, as far as the last run came; another learner waits while the block runs.

    Raises
    ------
    MlrefError
        For a champion that is not linear, a contract without a side for new rows, or a foreign journal.
    NotReproduced
        When the journal gives other predictions now.
    """
    with locked(project.online / ".lock"):
        store, settings = Store(project.store), load_settings(project.params)
        predictor, record = store.open("champion")
        guards.check(predictor.contract)
        if (trained := store.rows(predictor.digest)) is None:
            raise MlrefError("The champion's training rows were not recorded: `make train`.")
        model = skops.io.load(store.folder / f"{predictor.digest}.skops", trusted=TRUSTED)
        learner = Learner(model, record["model"], predictor.intervals, settings.online)
        same = settings.online.model_dump(exclude={"settle", "label_coverage"})
        head = {"champion": predictor.digest, "settings": same}
        journal = project.online / predictor.digest[:12] / "journal.jsonl"
        events = resume(journal, head)
        if learner.follow(events) != events:
            raise NotReproduced(f"{journal} gives other predictions", ["Was it edited?"])
        yield Session(
            predictor.digest, predictor.contract, record, trained, settings, learner, journal,
            head, events,
        )  # fmt: skip


def learn(project: Project, report: Callable[[str], None] = lambda line: None) -> str:
    """Learn the labels that have settled since the last run; returns what became of them.

    Raises
    ------
    MlrefError
        As :func:`opened`.
    EnvironmentFault
        When disk or database cannot be used: run it again.
    """
    with opened(project) as session, contextlib.closing(Database.of(project)) as database:
        for events in _blocks(session, database):
            session.events.extend(session.learner.follow(events))
            write(session.journal, session.head, session.events)
            report(f"learned up to label {events[-1].seq}")
        if session.events:
            seal(session.journal, session.learner.state(), session.events)
        return told(session)


def told(session: Session) -> str:
    """What was learned so far, and how the learner compares with the champion."""
    learner, counts = session.learner, Counter(event.why for event in session.events)
    left = ", ".join(f"{why} {count}" for why, count in sorted(counts.items()) if why)
    said = [f"{counts.total()} labels taken, {counts['']} learned. Not learned: {left or 'none'}."]
    if learner.resets:
        said.append(f"  Back to the last good weights: {learner.resets} times.")
    name, rows = recent(session)
    if name:
        said.append(f"  ADWIN saw a change of the {name}, {len(rows)} scored rows ago.")
    value, error = learner.comparison.difference()
    if math.isfinite(error):
        weights, *_, losses = learner.comparison.sums
        task, before = task_of(session.contract), losses / weights
        ends = {"value": value, "lower": value - 1.96 * error, "upper": value + 1.96 * error}
        after = {end: task.score(max(before + loss, 0)) for end, loss in ends.items()}
        gap = {end: float(score - task.score(before)) for end, score in after.items()}
        verdict = "better" if gap["upper"] < 0 else "worse" if gap["lower"] > 0 else "cannot tell"
        said.append(f"  Difference in {task.title} from the champion: {interval(gap)}, {verdict}.")
    return "\n".join(said)


def recent(session: Session) -> tuple[str, list[Event]]:
    """What ADWIN last saw change, and the rows scored since then; without a change, all of them."""
    scored = [event for event in session.events if event.scored is not None]
    width, name = min((int(one.width), name) for name, one in session.learner.detectors.items())
    return (name, scored[-width:]) if width < len(scored) else ("", scored)


def _blocks(session: Session, database: Database) -> Iterator[list[Event]]:
    """New events that have settled, in whole batches, as many as are written at once."""
    contract, settings, waiting = session.contract, session.settings, list[Event]()
    size, latest = settings.online.batch, time.time() - settings.online.settle
    after, digest = session.events[-1].seq if session.events else 0, session.digest
    for found in stream_labels(database, contract, after, digest=digest, source="serve"):
        waiting += guards.judged(found, contract, session.trained, session.learner, settings)
        whole = sum(event.received <= latest for event in waiting) // size * size
        for start in range(0, whole, BLOCK * size):
            yield _covered(database, session, waiting[start : min(start + BLOCK * size, whole)])
        waiting = waiting[whole:]


def _covered(database: Database, session: Session, events: list[Event]) -> list[Event]:
    """The same events; none is learned where labels have nearly ceased to come."""
    middle = sorted(event.id for event in events)[len(events) // 2]
    now, before = labelled_share(database, session.digest, middle, RECENT)
    if now >= session.settings.online.label_coverage * before:
        return events
    return [event._replace(why=event.why or "label coverage") for event in events]
