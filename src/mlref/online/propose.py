"""Propose what was learned: a bundle of the moved weights goes before the gate like any other."""

import datetime
import shutil

import numpy as np
import pandas as pd

from mlref.bundle import package
from mlref.bundle.store import Store
from mlref.core.contract import LABELS
from mlref.core.errors import MlrefError
from mlref.core.storage import Project, digest, read_json, write_bytes, write_json
from mlref.core.task import task_of
from mlref.data import split
from mlref.data.labelled import TIME, times
from mlref.data.tables import encode, read_parquet, row_ids, write_csv, write_parquet
from mlref.evaluation import evaluate
from mlref.online.guards import table
from mlref.online.journal import seal
from mlref.online.learn import Session, opened, recent, told
from mlref.prediction_log.ids import moment
from mlref.registry import register
from mlref.registry.learned import read
from mlref.registry.register import Since
from mlref.sources.retrain import enough, verdict, vouched
from mlref.training.archive import dumps


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
        enough(len(session.learned), "labels were learned", session.settings.retrain)
        vouched([event.source for event in session.learned], session.settings.retrain)
        work, change = packaged(project, session), _changed(session)
        _evaluated(project, session, work)
        if dry_run:
            gate = register.decision(work, change)
            said = [f"The gate would say: {gate['verdict']}.", *gate["reasons"]]
            return "\n  ".join([told(session), *said])
        return f"{told(session)}\n{verdict(*register.run(work, change))}"


def again(project: Project) -> str:
    """Learn the journal again from the champion's weights; says of what digest the bundle is."""
    with opened(project) as session:
        if not session.events:
            raise MlrefError("There is no journal to replay: `mlref learn` has taken no label yet.")
        seal(session.journal, session.learner.state(), session.events)
        name = digest(packaged(project, session).bundle / "MANIFEST.json")
    return f"{len(session.events)} events give the same bytes again; bundle {name[:12]}."


def packaged(project: Project, session: Session) -> Project:
    """Write the rows, the model and its bundle beside those of the stages."""
    work, frame = Project(project.root, project.online / "proposal"), _rows(project, session)
    shutil.rmtree(work.work, ignore_errors=True)
    write_csv(work.work / LABELS / "rows.csv", frame)
    write_parquet(work.validated, frame.drop(columns=TIME))
    split.run(work)
    write_bytes(work.model, dumps(session.learner.model()))
    rows = [(event.label, event.scored) for event in recent(session)[1]]
    coverage, (actual, scored) = session.settings.train.coverage, np.array(rows).reshape(-1, 2).T
    write_json(work.intervals, task_of(session.contract).calibrate(actual, scored, coverage))
    write_bytes(work.learned, session.journal.read_bytes())
    package.run(work)
    return work


def _changed(session: Session) -> Since | None:
    """The latest change that ADWIN saw, just before the first prediction after it."""
    name, rows = recent(session)
    if not name:
        return None
    time = moment(rows[0].id) - datetime.timedelta(milliseconds=1)
    return Since(time, f"ADWIN saw the champion's {name} change, {len(rows)} scored rows ago")


def _rows(project: Project, session: Session) -> pd.DataFrame:
    """All rows of the champion, of the journals and of the test set, and when they were predicted."""
    contract, store, name = session.contract, Store(project.store), session.digest
    events, there = session.events, read_parquet(project.validated)
    while (journal := store.journal(name)).is_file():  # what the champion itself has learned
        head, earlier = read(journal)
        events, name = earlier + events, head["champion"]
    known, kept = row_ids(contract, there), {e.name: e for e in events if e.why in ("", "test set")}
    tested = split.split(contract, there, session.settings.split)
    here = there[tested | np.array([key in session.trained for key in known])]
    here = here.assign(**{TIME: times(contract, project.root, here)})
    new = table(contract, [kept[key] for key in sorted(kept.keys() - known)])
    return pd.concat([here, new[[*here]]], ignore_index=True)


def _evaluated(project: Project, session: Session, work: Project) -> None:
    """Evaluate the bundle; in place of folds there are the rows that were scored before they were learned."""
    tuning, record = read_json(project.tuning), session.record
    if (tuning["model"], tuning["parameters"]) != (record["model"], record["parameters"]):
        raise MlrefError(
            "The reports here are of another training than the champion's. Check out its commit, or"
            " `make train`."
        )
    write_json(work.tuning, tuning)
    contract, rows = session.contract, [e for e in session.learned if e.scored is not None]
    features, actual = encode(contract, table(contract, rows))
    simpler = evaluate.baseline_predictions(contract, read_parquet(project.train), features)
    scored = {"actual": actual, **simpler, str(record["model"]): [e.scored for e in rows]}
    write_csv(work.out_of_fold, pd.DataFrame(scored))
    evaluate.write(work, *evaluate.measure(work))  # the pictures are of the recipe, fitted anew
