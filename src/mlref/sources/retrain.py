"""Retrain on labelled predictions: they become rows of the source, then the pipeline and the gate run.

Each step can be done again: rows that are there are skipped, stages that are up to date do not run, and
registering twice changes nothing. So after a crash the same command goes on where it was.
"""

import contextlib
import datetime
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mlref.bundle.store import Store
from mlref.core.contract import LABELS, Contract, load
from mlref.core.errors import EnvironmentFault, MlrefError
from mlref.core.rows import Array, Mask
from mlref.core.settings import Retrain
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, locked, write_bytes
from mlref.core.task import task_of
from mlref.data.ingest import ingest
from mlref.data.labelled import ISO, SINCE, TIME
from mlref.data.tables import decode, refusals, row_ids
from mlref.prediction_log.database import Database
from mlref.prediction_log.ids import to_text
from mlref.prediction_log.reader import Period, read
from mlref.registry import register
from mlref.registry.register import Since
from mlref.sources.labels import add

STRANGE = 2.0
"""How far a label may be from its prediction, in the largest out-of-fold error of training."""

FAR = 5.0
"""The same, in standard deviations of the other new labels: after a change of concept all of them are far."""

BEGINNING = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Labelled(NamedTuple):
    """Labelled predictions as n rows of the contract, sorted by their names.

    Parameters
    ----------
    frame : DataFrame, shape (n, columns of the contract, and ``predicted_at``)
        Decoded; of several labels of one row the latest.
    names : ndarray of str, shape (n,)
        See :func:`mlref.data.tables.row_ids`.
    value : ndarray of float64, shape (n,)
        What was predicted, target units.
    source : ndarray of str, shape (n,)
        Who sent the label.
    unfit : int
        Rows left out, since the contract of today does not allow them.
    """

    frame: pd.DataFrame
    names: np.ndarray
    value: Array
    source: np.ndarray
    unfit: int

    def after(self, time: datetime.datetime) -> Mask:
        """Rows that were predicted after a time."""
        return (pd.to_datetime(self.frame[TIME], **ISO) > time).to_numpy()


def retrain(
    project: Project,
    since: Since | None = None,
    dry_run: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> str:
    """Add the labelled predictions of the log to the source, run the pipeline, and ask the gate.

    Parameters
    ----------
    since : Since, optional
        A change of concept: the gate compares on newer rows, and older ones are no longer trained on.
    dry_run : bool
        Say what would be added; change nothing.
    report : callable
        Takes a line for each stage that runs.

    Returns
    -------
    str
        What was added, and the verdict of the gate.

    Raises
    ------
    MlrefError
        When the labels are refused, or a stage stops; the source is then as it was.
    GateBlocked
        When the gate blocks the new model.
    EnvironmentFault
        When another retraining runs, or disk or database cannot be used: run it again.
    """
    contract, settings = load(project.contract), load_settings(project.params).retrain
    try:
        with locked(project.store / ".retrain", wait=False) as lock:
            rows = labelled(project, contract)
            with _restored(project):
                said = _add(project, contract, rows, settings, since, dry_run)
                if dry_run:
                    return said
                if since and settings.old_rows == "drop":
                    write_bytes(project.root / SINCE, f"{to_text(since.time)}\n".encode())
                _pipeline(project, lock, report)
            record, champion = register.run(project, since)
    except BlockingIOError as error:
        then = "Run the command again when it has ended."
        raise EnvironmentFault("A retraining runs already", error, then) from error
    return "\n".join([said, verdict(record, champion)])


def verdict(record: dict[str, Any], champion: bool) -> str:
    """What the gate has said about a registered model, and what the model is now."""
    gate, role = record["gate"], "champion" if champion else "challenger"
    head = f"Verdict: {gate['verdict']}. Version {record['version']} is the {role}."
    return "\n".join([head, *(f"  {reason}" for reason in gate["reasons"])])


def labelled(project: Project, contract: Contract) -> Labelled:
    """Read the labelled predictions of all champions.

    Raises
    ------
    MlrefError
        When there is none, or the contract names rows by a column that the log does not have.
    """
    target = contract.target.name
    if missing := {*contract.header} - {*contract.names, target}:
        raise MlrefError(
            f"The prediction log has no {', '.join(sorted(missing))}, which names or divides the rows of"
            " this contract. Add the rows from a file that has it: `mlref labels import FILE`."
        )
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    with contextlib.closing(Database.of(project)) as database:
        found = read(database, Period(BEGINNING, end), labelled=True, role="champion")
    if found.empty:
        raise MlrefError("No prediction in the log has a label: `POST /v1/feedback` takes them.")
    frame = pd.DataFrame(found["features"].tolist(), columns=[*contract.names])
    frame[target] = found["label"]
    frame = decode(frame[[*contract.header]], contract.columns)
    frame[TIME] = found["at"].map(to_text)
    names = pd.Series(row_ids(contract, frame))
    unfit = {violation.row for violation in refusals(contract, frame)}
    kept = names[~names.index.isin(unfit)].drop_duplicates(keep="last").sort_values().index
    value, source = found["value"].to_numpy(), found["label_source"].fillna("").to_numpy()
    rows = frame.loc[kept].reset_index(drop=True)
    return Labelled(rows, names[kept].to_numpy(), value[kept], source[kept], len(unfit))


def _add(
    project: Project, contract: Contract, rows: Labelled, settings: Retrain, since: Since | None,
    dry_run: bool,
) -> str:  # fmt: skip
    """Write the rows that are new to the source; says how many, and what was left out."""
    if since:
        what = f"labelled rows are from after {since.time:%Y-%m-%d %H:%M:%S} UTC"
        enough(int(rows.after(since.time).sum()), what, settings)
    there, target = decode(ingest(contract, project.root), contract.columns), contract.target.name
    known = dict(zip(row_ids(contract, there), there[target], strict=True))
    new = np.array([name not in known for name in rows.names])
    others = sum(
        known.get(name, label) != label
        for name, label in zip(rows.names, rows.frame[target], strict=True)
    )
    said = "New rows: 0."
    if new.any():
        _check(project, contract, rows, new & rows.after(since.time) if since else new, settings)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "log.csv"
            rows.frame[new].to_csv(file, index=False)
            said = add(project, file, dry_run)
    if rows.unfit:
        said += f" Not allowed by the contract, and left out: {rows.unfit}."
    if others:
        said += f" With another label than in the source, which stays as it is: {others}."
    return said


def _check(
    project: Project, contract: Contract, rows: Labelled, new: Mask, settings: Retrain
) -> None:
    """Refuse labels that too few sources vouch for, or that are of another scale."""
    if not new.any():
        return
    vouched(rows.source[new].tolist(), settings)
    champion, _ = Store(project.store).open("champion")
    errors = champion.intervals.get("out_of_fold", {}).get("residuals")
    if errors is None:
        return
    label = rows.frame[contract.target.name].to_numpy(np.float64)[new]
    away = np.sqrt(task_of(contract).loss(label, rows.value[new]))
    middle = np.median(away)
    # a standard deviation that outliers do not move
    spread = 1.4826 * np.median(np.abs(away - middle))
    strange = away > max(STRANGE * np.abs(errors).max(), middle + FAR * spread)
    if strange.mean() > settings.largest_strange:
        who = ", ".join(source or "no name" for source in np.unique(rows.source[new][strange]))
        raise MlrefError(
            f"{strange.sum()} of {len(strange)} new labels ({strange.mean():.1%}; allowed:"
            f" {settings.largest_strange:.1%}) are further from their predictions than {STRANGE:g} times"
            f" the largest error of training, and much further than the others; sources: {who}. Where it"
            " is another unit, send corrected labels to `/v1/feedback`: the latest label of a prediction"
            " counts. Where the concept has changed, name the time: --since."
        )


def enough(count: int, what: str, settings: Retrain) -> None:
    """Refuse fewer labels than a retraining needs."""
    if count < settings.rows:
        raise MlrefError(
            f"Only {count} {what}; `retrain.rows` in config/params.yaml asks for {settings.rows}."
        )


def vouched(sources: Sequence[str], settings: Retrain) -> None:
    """Refuse labels that too few sources vouch for."""
    if len({*sources}) < settings.sources:
        names = ", ".join(source or "no name" for source in sorted({*sources}))
        raise MlrefError(
            f"All {len(sources)} new labels are from {len({*sources})} source ({names}); `retrain.sources`"
            f" in config/params.yaml asks for {settings.sources}. What is wrong with a source would be"
            " learned."
        )


@contextlib.contextmanager
def _restored(project: Project) -> Iterator[None]:
    """Take back what the block adds to the labelled rows, when it is refused."""
    folder = project.root / LABELS
    before = {path: path.read_bytes() for path in folder.glob("*")}
    try:
        yield
    except EnvironmentFault:
        raise  # the same command goes on with what is there
    except MlrefError:
        for path in {*folder.glob("*")} - {*before}:
            path.unlink()
        if (mark := project.root / SINCE) in before:
            write_bytes(mark, before[mark])
        raise


def _pipeline(project: Project, lock: int, report: Callable[[str], None]) -> None:
    """Run the stages that are out of date.

    DVC holds the lock too, so that nobody begins while stages of a killed command still run.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"], cwd=project.root, env=os.environ | {"PATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, pass_fds=[lock],
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Running stage"):
                report(line.strip())
    if process.returncode and any("dvc.lock' is invalid" in line for line in said):
        project.lock.unlink()  # cut off by a kill; what it does not know is run again
        return _pipeline(project, lock, report)
    if process.returncode:
        raise MlrefError(
            f"The pipeline stopped, and what was just added is taken back.\n{''.join(said[-8:]).strip()}"
        )
