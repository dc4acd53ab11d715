"""Follow the ground truth of the champion's predictions in the log, and learn from it."""

import contextlib
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
    """A champion, the learner that began from its weights, and what it keeps."""

    predictor: Predictor
    record: dict[str, Any]
    settings: Settings
    learner: Learner
    journal: Journal


@contextlib.contextmanager
def alone(project: Project) -> Iterator[None]:
    """Refuse a second learner while the block runs."""
    try:
        with locked(project.online / ".lock", wait=False):
            yield
    except BlockingIOError as error:
        then = "Run the command again when it has ended."
        raise EnvironmentFault("A learner runs already", error, then) from error


def open_session(project: Project) -> Session:
    """Load the champion and its journal; the learner is as the champion was trained.

    Raises
    ------
    MlrefError
        For a champion that is not linear, a contract without a side for new rows, or a foreign journal.
    """
    store, settings = Store(project.store), load_settings(project.params)
    predictor, record = store.open("champion")
    guards.check(predictor.contract)
    model = skops.io.load(store.folder / f"{predictor.digest}.skops", trusted=TRUSTED)
    learner = Learner(model, str(record["model"]), predictor.intervals, settings.online)
    head = {"champion": predictor.digest, "settings": settings.online.model_dump(include=DECIDES)}
    journal = Journal(project.online / predictor.digest[:12], head)
    return Session(predictor, record, settings, learner, journal)


def resume(project: Project) -> Session:
    """Go on where the last run ended, or was killed."""
    session = open_session(project)
    journal = session.journal
    if journal.state:
        session.learner.restore(journal.state, journal.events)
    elif journal.events:
        _again(session)
    return session


def learn(project: Project, report: Callable[[str], None] = lambda line: None) -> str:
    """Learn the labels that have settled since the last run; returns what became of them.

    Raises
    ------
    MlrefError
        As :func:`open_session`.
    EnvironmentFault
        When another learner runs, or disk or database cannot be used: run it again.
    """
    with alone(project), contextlib.closing(Database.of(project)) as database:
        session = resume(project)
        for events in _blocks(session, database, project):
            done = session.learner.follow(events)
            session.journal.add(done, session.learner.state())
            session.journal.events += done
            report(f"learned up to label {done[-1].seq}")
        return told(session)


def replay(project: Project) -> Session:
    """Learn the journal again from the champion's weights; the same bytes must come out.

    Raises
    ------
    NotReproduced
        When they do not.
    """
    session = open_session(project)
    journal, learner = session.journal, session.learner
    if not journal.events:
        raise MlrefError("There is no journal to replay: `mlref learn` has taken no label yet.")
    if _again(session) != journal.events:
        raise NotReproduced("The journal gives other predictions", ["Packages or machine differ."])
    sealed = journal.seal(learner.state())
    if journal.state and sealed != journal.checkpoint.read_bytes():
        raise NotReproduced("The journal gives another checkpoint", [str(journal.checkpoint)])
    return session


def told(session: Session) -> str:
    """What was learned so far, and how the learner compares with the champion."""
    learner, counts = session.learner, session.learner.counts
    left = ", ".join(f"{why} {count}" for why, count in sorted(counts.items()) if why)
    said = f"{counts.total()} labels taken, {counts['']} learned. Not learned: {left or 'none'}."
    if learner.resets:
        said += f"\n  Back to the last good weights: {learner.resets} times."
    for name, rows in learner.changes[-1:]:
        said += f"\n  ADWIN saw a change of the {name} after {rows} scored rows."
    return f"{said}\n  {_compared(session)}"


def _compared(session: Session) -> str:
    """The fading comparison in words."""
    task, compared = task_of(session.predictor.contract), session.learner.comparison
    value, error = compared.difference()
    if not 0 <= error < float("inf"):
        return "Nothing to compare yet."
    before = compared.champion
    ends = {"value": value, "lower": value - 1.96 * error, "upper": value + 1.96 * error}
    gap = {k: float(task.score(max(before + v, 0)) - task.score(before)) for k, v in ends.items()}
    verdict = "better" if gap["upper"] < 0 else "worse" if gap["lower"] > 0 else "cannot tell"
    return f"Difference in {task.title} from the champion: {interval(gap)}, {verdict}."


def _again(session: Session) -> list[Event]:
    """Learn the events of the journal; what only a batch can tell is found again."""
    cleared = [
        e._replace(scored=None, why="" if e.why in BATCH else e.why) for e in session.journal.events
    ]
    return session.learner.follow(cleared)


def _blocks(session: Session, database: Database, project: Project) -> Iterator[list[Event]]:
    """New events in whole batches, as many as a checkpoint is for."""
    settings, digest = session.settings.online, session.predictor.digest
    trained = Store(project.store).rows(digest)
    if trained is None:
        raise MlrefError("It is not recorded which rows the champion was trained on: `make train`.")
    judge = Guards(session.predictor.contract, trained, session.learner, session.settings)
    for event in session.journal.events:
        judge.remember(event)
    after = session.journal.events[-1].seq if session.journal.events else 0
    waiting, latest = list[Event](), time.time() - settings.settle
    for chunk in stream_labels(
        database, session.predictor.contract, after=after, digest=digest, source="serve"
    ):
        waiting += judge.judge(chunk)
        if unsettled := [at for at, event in enumerate(waiting) if event.received > latest]:
            waiting = waiting[: unsettled[0]]
        size = BLOCK * settings.batch
        while len(waiting) >= (settings.batch if unsettled else size):
            count = min(size, len(waiting) // settings.batch * settings.batch)
            yield _covered(database, session, waiting[:count])
            waiting = waiting[count:]
        if unsettled:
            return
    if whole := len(waiting) // settings.batch * settings.batch:
        yield _covered(database, session, waiting[:whole])


def _covered(database: Database, session: Session, events: list[Event]) -> list[Event]:
    """The same events; none is learned where labels have nearly ceased to come."""
    middle = sorted(event.id for event in events)[len(events) // 2]
    now, before = labelled_share(database, session.predictor.digest, middle, RECENT)
    if now >= session.settings.online.label_coverage * before:
        return events
    return [event._replace(why=event.why or "label coverage") for event in events]
