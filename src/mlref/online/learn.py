"""Follow the ground truth of the champion's predictions in the log, and learn from it."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import skops.io

from mlref.bundle.package import TRUSTED
from mlref.bundle.predictor import Predictor
from mlref.bundle.store import Store
from mlref.core.digits import interval
from mlref.core.errors import EnvironmentFault, MlrefError, NotReproduced
from mlref.core.settings import Settings
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, locked
from mlref.core.task import task_of
from mlref.online import guards
from mlref.online.guards import Guards
from mlref.online.journal import Journal
from mlref.online.learner import BATCH, Learner
from mlref.prediction_log.database import Database
from mlref.prediction_log.reader import labelled_share, stream_labels
from mlref.registry.learned import Event

BLOCK = 64
"""Batches between two checkpoints."""

DECIDES = {"batch", "rate", "fading", "largest_shift", "largest_step"}
"""Settings with which the same events give the same weights."""

RECENT = 500
"""Predictions in which a collapse of label coverage is looked for."""


class Session(NamedTuple):
    """A champion, its registration record, the learner that began from its weights, and the journal."""

    predictor: Predictor
    record: dict[str, Any]
    settings: Settings
    learner: Learner
    journal: Journal


@contextlib.contextmanager
def opened(project: Project) -> Iterator[Session]:
    """Learn the journal again, as far as the last run came; nobody else learns while the block runs.

    Raises
    ------
    MlrefError
        For a champion that is not linear, a contract without a side for new rows, or a foreign journal.
    NotReproduced
        When the journal gives other predictions now.
    EnvironmentFault
        When another learner runs.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(project.online / ".lock", wait=False))
        except BlockingIOError as error:
            then = "Run the command again when it has ended."
            raise EnvironmentFault("A learner runs already", error, then) from error
        store, settings = Store(project.store), load_settings(project.params)
        predictor, record = store.open("champion")
        guards.check(predictor.contract)
        model = skops.io.load(store.folder / f"{predictor.digest}.skops", trusted=TRUSTED)
        learner = Learner(model, record["model"], predictor.intervals, settings.online)
        head = {
            "champion": predictor.digest,
            "settings": settings.online.model_dump(include=DECIDES),
        }
        journal = Journal(project.online / predictor.digest[:12], head)
        # what only a batch can tell is found again
        again = [
            e._replace(scored=None, why="" if e.why in BATCH else e.why) for e in journal.events
        ]
        if learner.follow(again) != journal.events:
            raise NotReproduced(
                f"{journal.path} gives other predictions", ["Machine or packages differ."]
            )
        yield Session(predictor, record, settings, learner, journal)


def learn(project: Project, report: Callable[[str], None] = lambda line: None) -> str:
    """Learn the labels that have settled since the last run; returns what became of them.

    Raises
    ------
    MlrefError
        As :func:`opened`.
    EnvironmentFault
        When another learner runs, or disk or database cannot be used: run it again.
    """
    with opened(project) as session, contextlib.closing(Database.of(project)) as database:
        trained = Store(project.store).rows(session.predictor.digest)
        if trained is None:
            raise MlrefError(
                "It is not recorded which rows the champion has trained on: `make train`."
            )
        for events in _blocks(session, database, trained):
            session.journal.add(session.learner.follow(events), session.learner.state())
            report(f"learned up to label {events[-1].seq}")
        session.journal.check(session.learner.state())
        return told(session)


def told(session: Session) -> str:
    """What was learned so far, and how the learner compares with the champion."""
    learner, counts = session.learner, session.learner.counts
    left = ", ".join(f"{why} {count}" for why, count in sorted(counts.items()) if why)
    said = [f"{counts.total()} labels taken, {counts['']} learned. Not learned: {left or 'none'}."]
    if learner.resets:
        said.append(f"  Back to the last good weights: {learner.resets} times.")
    for name, rows in learner.changes[-1:]:
        said.append(f"  ADWIN saw a change of the {name} after {rows} scored rows.")
    value, error = learner.comparison.difference()
    if math.isfinite(error):
        task, before = task_of(session.predictor.contract), learner.comparison.champion
        ends = {"value": value, "lower": value - 1.96 * error, "upper": value + 1.96 * error}
        gap = {
            k: float(task.score(max(before + v, 0)) - task.score(before)) for k, v in ends.items()
        }
        verdict = "better" if gap["upper"] < 0 else "worse" if gap["lower"] > 0 else "cannot tell"
        said.append(f"  Difference in {task.title} from the champion: {interval(gap)}, {verdict}.")
    return "\n".join(said)


def _blocks(session: Session, database: Database, trained: frozenset[str]) -> Iterator[list[Event]]:
    """New events in whole batches, as many as a checkpoint is for."""
    settings, contract, events = (
        session.settings,
        session.predictor.contract,
        session.journal.events,
    )
    judge, batch = Guards(contract, trained, session.learner, settings), settings.online.batch
    for event in events:
        judge.remember(event)
    digest, after = session.predictor.digest, events[-1].seq if events else 0
    waiting, latest = list[Event](), time.time() - settings.online.settle
    for found in stream_labels(database, contract, after, digest=digest, source="serve"):
        waiting += judge.judge(found)
        while len(waiting) > BLOCK * batch and waiting[BLOCK * batch].received <= latest:
            yield _covered(database, session, waiting[: BLOCK * batch])
            waiting = waiting[BLOCK * batch :]
    settled = sum(event.received <= latest for event in waiting)
    if whole := settled // batch * batch:
        yield _covered(database, session, waiting[:whole])


def _covered(database: Database, session: Session, events: list[Event]) -> list[Event]:
    """The same events; none is learned where labels have nearly ceased to come."""
    middle = sorted(event.id for event in events)[len(events) // 2]
    now, before = labelled_share(database, session.predictor.digest, middle, RECENT)
    if now >= session.settings.online.label_coverage * before:
        return events
    return [event._replace(why=event.why or "label coverage") for event in events]
