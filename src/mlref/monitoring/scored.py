"""Judge what `mlref score` wrote, for those who never serve in real time; nothing of it is kept."""

from pathlib import Path

import numpy as np
import pandas as pd

from mlref.core.contract import Contract
from mlref.core.errors import DataError, MlrefError
from mlref.core.rows import masks
from mlref.core.storage import Project
from mlref.monitoring.alarms import follow
from mlref.monitoring.run import Asked, Model, Outcome
from mlref.monitoring.windows import Rows, table

ADDED = {"value": "prediction", "lower": "lower", "upper": "upper"}
"""Fields of a row by the columns that `mlref score` adds."""


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
    outcome = Outcome([], [], [], [])
    needed = (*ADDED.values(), "model_version")
    frames = [_read(path, *needed) for path in sorted(folder.glob("*.parquet"))]
    if not frames:
        raise DataError(folder, "holds no part in Parquet", "Name the OUTPUT of `mlref score`.")
    for version, part in pd.concat(frames, ignore_index=True).groupby("model_version", sort=False):
        model = Model(project, str(version), asked, 0.0, None)
        contract = model.known.contract
        streams = {"inputs": part}
        if truth:
            streams["truth"] = _joined(contract, _having(folder, part, key), truth, key)
        for kind, frame in streams.items():
            rows = _rows(contract, _having(folder, frame, *contract.names))
            closed = model.collect([rows], outcome, model.nothing(kind))
            outcome.judged.extend(closed)
            outcome.alarms.extend(follow([], closed, model.known.rows))
    return outcome


def _read(path: Path, *needed: str) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(path, f"cannot be read: {error}") from error
    return _having(path, frame, *needed)


def _having(source: Path, frame: pd.DataFrame, *needed: str) -> pd.DataFrame:
    if missing := [name for name in needed if name not in frame]:
        raise DataError(source, f"lacks the columns {', '.join(missing)}")
    return frame


def _joined(contract: Contract, scored: pd.DataFrame, truth: Path, key: str) -> pd.DataFrame:
    """The scored rows whose truth is known."""
    target = contract.target
    known = _read(truth, key, target.name)[[key, target.name]].dropna()
    if known[key].duplicated().any():
        raise DataError(truth, f"has a value of {key!r} twice")
    if masks([target], {target.name: known[target.name].to_numpy()}).refused.any():
        raise DataError(truth, f"has a value of {target.name!r} that is not {target.accepts}")
    return scored.drop(columns=target.name, errors="ignore").merge(known, on=key)


def _rows(contract: Contract, frame: pd.DataFrame) -> Rows:
    kinds = {one.name: np.float64 if one.is_number else object for one in contract.features}
    features = masks(contract.features, {name: frame[name].to_numpy(kinds[name]) for name in kinds})
    answered = {field: frame[name].to_numpy(np.float64) for field, name in ADDED.items()}
    if contract.target.name in frame:
        answered["label"] = frame[contract.target.name].to_numpy(np.float64)
    position = np.arange(1, len(frame) + 1)
    return table(features.array, time=0.0, predicted=0.0, position=position, **answered)
