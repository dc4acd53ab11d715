"""Propose what was learned: a bundle of the moved weights goes before the gate like any other."""

import datetime
import shutil
from typing import Any

import numpy as np
import pandas as pd

from mlref.bundle import package
from mlref.bundle.store import Store
from mlref.core.contract import LABELS, Contract
from mlref.core.errors import MlrefError
from mlref.core.rows import Array
from mlref.core.storage import Project, digest, read_json, write_bytes, write_json
from mlref.core.task import task_of
from mlref.data.labelled import TIME
from mlref.data.split import profile, split
from mlref.data.tables import encode, read_parquet, row_ids, write_csv, write_parquet
from mlref.evaluation import evaluate
from mlref.online.guards import decoded
from mlref.online.learn import Session, opened, told
from mlref.prediction_log.ids import moment, to_text
from mlref.registry import register
from mlref.registry.learned import Event, read
from mlref.registry.register import Since
from mlref.training.archive import dumps
from mlref.training.candidates import BASELINES


def propose(project: Project, dry_run: bool = False) -> str:
    """Package what was learned, evaluate it and ask the gate, on the rows since the change that ADWIN saw.

    Parameters
    ----------
    dry_run : bool
        Say what the gate would say; register nothing.

    Returns
    -------
    str
        What was learned, and the verdict of the gate.

    Raises
    ------
    MlrefError
        When too few labels were learned, or from too few sources.
    GateBlocked
        When the gate blocks the model.
    """
    with opened(project) as session:
        events, change = learned(session), changed(session)
        _check(session, events)
        work = packaged(project, session)
        _evaluated(project, session, work)
        if dry_run:
            gate = register.decision(work, change)
            head = f"The gate would say: {gate['verdict']}."
        else:
            record, champion = register.run(work, change)
            gate, role = record["gate"], "champion" if champion else "challenger"
            head = f"Verdict: {gate['verdict']}. Version {record['version']} is the {role}."
    since = (
        f"Since {change.time:%Y-%m-%d %H:%M:%S} UTC: {change.because}." if change else "No change."
    )
    return "\n".join([told(session), since, head, *(f"  {reason}" for reason in gate["reasons"])])


def again(project: Project) -> str:
    """Learn the journal again from the champion's weights; says of what digest the bundle is."""
    with opened(project) as session:
        journal = session.journal
        if not journal.events:
            raise MlrefError("There is no journal to replay: `mlref learn` has taken no label yet.")
        journal.check(session.learner.state())
        name = digest(packaged(project, session).bundle / "MANIFEST.json")
    return f"{len(journal.events)} events give the same bytes again; bundle {name[:12]}."


def learned(session: Session) -> list[Event]:
    """The events that moved the weights."""
    return [event for event in session.journal.events if not event.why]


def changed(session: Session) -> Since | None:
    """The latest change that ADWIN saw: just before the first prediction after it.

    ADWIN says that there was one, and some hundred rows later. It was where the means before and after differ
    most, by the CUSUM of Page (1954), among the rows since the detector's change before it.
    """
    if not (changes := session.learner.changes):
        return None
    name, at = changes[-1]
    earlier = [rows for other, rows in changes[:-1] if other == name]
    start, scale = max(earlier, default=0), session.learner.scale
    scored = [event for event in session.journal.events if event.scored is not None][start:at]
    errors = scale([e.label for e in scored]) - scale([e.champion for e in scored])
    found = first_after(errors if name == "bias" else np.abs(errors))
    time = moment(scored[found].id) - datetime.timedelta(milliseconds=1)
    return Since(time, f"ADWIN saw the champion's {name} change; {at - start - found} labels later")


def first_after(values: Array) -> int:
    """Where a mean changed: the place of the first value after it.

    Examples
    --------
    >>> first_after(np.array([1.0, 2.0, 1.0, 9.0, 8.0]))
    3
    """
    rows = np.arange(1, len(values))
    sums = np.cumsum(values - values.mean())[:-1]
    return int(np.argmax(np.abs(sums) / np.sqrt(rows * (len(values) - rows)))) + 1


def packaged(project: Project, session: Session) -> Project:
    """Write the rows, the model and its bundle beside those of the stages."""
    contract, settings = session.predictor.contract, session.settings
    work = Project(project.root, project.online / "proposal")
    shutil.rmtree(work.work, ignore_errors=True)
    labels = work.work / LABELS
    labels.mkdir(parents=True)
    for file in (project.root / LABELS).glob("*.csv"):
        shutil.copy(file, labels)
    frame, new = _rows(project, session)
    write_csv(labels / "learned.csv", new)
    tested = split(contract, frame, settings.split)
    write_parquet(work.validated, frame)
    write_parquet(work.train, frame[~tested])
    write_parquet(work.holdout, frame[tested])
    write_json(work.profile, profile(contract, *encode(contract, frame[~tested])))
    write_bytes(work.model, dumps(session.learner.model()))
    actual, predicted = _prequential(session)
    task, coverage = task_of(contract), settings.train.coverage
    write_json(work.intervals, task.calibrate(actual, predicted, coverage))
    write_bytes(work.learned, session.journal.path.read_bytes())
    package.run(work)
    return work


def _check(session: Session, events: list[Event]) -> None:
    settings = session.settings.retrain
    if len(events) < settings.rows:
        raise MlrefError(
            f"{len(events)} labels were learned, too few to propose; `retrain.rows` in config/params.yaml"
            f" asks for {settings.rows}."
        )
    if len(sources := {event.source for event in events}) < settings.sources:
        names = ", ".join(sorted(source or "no name" for source in sources))
        raise MlrefError(
            f"All {len(events)} labels are from {len(sources)} source ({names}); `retrain.sources` in"
            f" config/params.yaml asks for {settings.sources}."
        )


def _prequential(session: Session) -> tuple[Any, Any]:
    """Ground truth and earlier predictions of the rows learned since the change, or of all."""
    change = changed(session)
    rows = [
        (event.label, event.scored) for event in learned(session)
        if event.scored is not None and (not change or moment(event.id) > change.time)
    ]  # fmt: skip
    return tuple(np.array(rows, np.float64).reshape(-1, 2).T)  # type: ignore[return-value]


def _rows(project: Project, session: Session) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All rows of the champion, of the journals and of the test set; and those of the journals alone."""
    contract, name, store = (
        session.predictor.contract,
        session.predictor.digest,
        Store(project.store),
    )
    events, trained = session.journal.events, store.rows(name) or frozenset()
    while (journal := store.journal(name)).is_file():  # what the champion itself has learned
        head, earlier = read(journal)
        events, name = earlier + events, head["champion"]
    there = read_parquet(project.validated)
    known, kept = row_ids(contract, there), {e.name: e for e in events if e.why in ("", "test set")}
    new = _table(contract, [kept[key] for key in sorted(kept.keys() - known)])
    tested = split(contract, there, session.settings.split)
    here = there[tested | np.array([key in trained for key in known])]
    if unknown := trained - {*known} - {*kept}:
        raise MlrefError(
            f"{len(unknown)} rows that the champion was trained on are no longer in data/validated, so"
            " that nothing can be compared. `make train` first."
        )
    return pd.concat([here, new[[*there]]], ignore_index=True), new


def _table(contract: Contract, events: list[Event]) -> pd.DataFrame:
    frame = decoded(contract, [e.row for e in events], [e.label for e in events])
    return frame.assign(**{TIME: [to_text(moment(e.id)) for e in events]})


def _evaluated(project: Project, session: Session, work: Project) -> None:
    """Evaluate the bundle; in place of folds there are the rows that were scored before they were learned."""
    tuning, record = read_json(project.tuning), session.record
    if (tuning["model"], tuning["parameters"]) != (record["model"], record["parameters"]):
        raise MlrefError(
            "The reports here are of another training than the champion's. Check out its commit, or"
            " `make train`."
        )
    write_json(work.tuning, tuning)
    contract = session.predictor.contract
    rows = [event for event in learned(session) if event.scored is not None]
    features, actual = encode(contract, _table(contract, rows))
    simpler = evaluate.baseline_predictions(contract, read_parquet(project.train), features)
    columns = {name: simpler[name] for name in BASELINES}
    table = {"actual": actual, **columns, str(record["model"]): [e.scored for e in rows]}
    write_csv(work.out_of_fold, pd.DataFrame(table))
    evaluate.write(work, *evaluate.measure(work))  # the pictures are of the recipe, fitted anew
