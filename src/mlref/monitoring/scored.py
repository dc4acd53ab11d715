"""Judge what `mlref score` wrote, for those who never serve in real time; nothing of it is kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlref.bundle.store import Store
from mlref.core.contract import Contract
from mlref.core.errors import DataError, MlrefError
from mlref.core.rows import masks
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project
from mlref.monitoring import alarms, drift, performance
from mlref.monitoring.reference import reference
from mlref.monitoring.run import Asked, Judged, Outcome, evidences, window
from mlref.monitoring.thresholds import Thresholds
from mlref.monitoring.windows import Rows, cut

ADDED = ("prediction", "lower", "upper", "model_version")
"""Columns of a part that are read beside the features."""


def run(project: Project, asked: Asked, folder: Path, truth: Path | None, key: str) -> Outcome:
    """Judge scored parts by windows of rows, in the order of their names.

    Parameters
    ----------
    project : Project
        Whose bundle store is read.
    asked : Asked
        Its size is a number of rows: files have no time.
    folder : Path
        Parts in Parquet.
    truth : Path, optional
        CSV or Parquet with the column ``key`` and the target.
    key : str
        Column by which parts and truth are joined.

    Raises
    ------
    DataError
        When parts or truth lack a column, or a key of the truth is there twice.
    MlrefError
        When the windows are days, or a model is not in the store.
    """
    if asked.size.days:
        raise MlrefError("Scored files have no time: take windows of rows, such as --window 200.")
    settings, store = load_settings(project.params), Store(project.store)
    outcome = Outcome([], [], [], [])
    frames = [_read(path) for path in sorted(folder.glob("*.parquet"))]
    if not frames:
        raise DataError(folder, "holds no part in Parquet", "Name the OUTPUT of `mlref score`.")
    scored = pd.concat(frames, ignore_index=True)
    _need(folder, scored, *ADDED)
    for version, part in scored.groupby("model_version", sort=False):
        predictor, record = store.open(str(version))
        known = reference(predictor)
        thresholds = Thresholds(None, predictor.digest, known, settings.monitor)
        contract, smallest = predictor.contract, settings.monitor.smallest_window
        streams = {"inputs": _rows(folder, contract, part)}
        if truth:
            streams["truth"] = _rows(folder, contract, _joined(contract, part, truth, key))
        for kind, rows in streams.items():
            judged, carried, before = list[Judged](), dict[str, Any](), None
            for here, over in cut([rows], asked.size, smallest, 0.0):
                if not over and not asked.unfinished:
                    outcome.notes.append(f"Version {version}: {here.count} rows are no window.")
                    continue
                found = (
                    drift.judge(known, thresholds, here, (), carried, smallest)
                    if kind == "inputs"
                    else performance.judge(
                        known, thresholds, here, carried, settings.gate.smallest_slice
                    )
                )
                carried = found.carried
                names = predictor.digest, str(record["version"]), kind, str(asked.size)
                before = window(names, before, here, found)
                judged.append((before, found.findings, evidences(known, found, here)))
            outcome.judged.extend(one for one, *_ in judged)
            outcome.alarms.extend(alarms.follow([], judged))
    return outcome


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(path, f"cannot be read: {error}") from error


def _need(source: Path, frame: pd.DataFrame, *names: str) -> None:
    if missing := [name for name in names if name not in frame]:
        raise DataError(source, f"lacks the columns {', '.join(missing)}")


def _joined(contract: Contract, part: pd.DataFrame, truth: Path, key: str) -> pd.DataFrame:
    """The scored rows whose truth is known."""
    known, target = _read(truth), contract.target.name
    _need(truth, known, key, target)
    _need(Path("scored parts"), part, key)
    if known[key].duplicated().any():
        raise DataError(truth, f"has a value of {key!r} twice")
    return part.drop(columns=target, errors="ignore").merge(known[[key, target]], on=key)


def _rows(source: Path, contract: Contract, frame: pd.DataFrame) -> Rows:
    _need(source, frame, *contract.names)
    kinds = {one.name: np.float64 if one.is_number else object for one in contract.features}
    table = {name: frame[name].to_numpy(kind) for name, kind in kinds.items()}
    found = masks(contract.features, table)
    count, target = len(frame), contract.target.name
    time, nothing = np.zeros(count), np.full(count, np.nan)
    label = frame[target].to_numpy(np.float64) if target in frame else nothing
    value, lower, upper = (frame[name].to_numpy(np.float64) for name in ADDED[:3])
    return Rows(
        np.arange(1, count + 1), time, time, found.array, found.unusual,
        value, lower, upper, label, nothing, np.full(count, ""),
    )  # fmt: skip
