"""Files of labelled rows, added to the contract's source: which rows are sound, and which are new."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlref.core.contract import LABELS, Contract
from mlref.core.errors import DataError, RowsRefused, Violation
from mlref.core.rows import Mask, show
from mlref.data.tables import FIRST_ROW, decode, other_columns, read_csv, refusals, row_ids
from mlref.data.tables import times as moments

Cells = tuple[object, ...]

TIME = "predicted_at"
"""A column that files of labelled rows may have beside the contract's: when the row was predicted."""
SINCE = f"{LABELS}/since.txt"
"""Where it is there, rows from before the time that it names are not trained on."""
ISO: Any = {"utc": True, "format": "ISO8601", "errors": "coerce"}
"""How cells are read as moments; NaT where they are none."""


def unseen(
    contract: Contract, there: pd.DataFrame, files: Sequence[Path]
) -> tuple[pd.DataFrame, int]:
    """Read files of labelled rows and keep the rows that are not there yet.

    Equal rows are skipped. A row of the same identity (the contract's ``identity``, else all features)
    with another value is refused: which of the two is right, the source has to say.

    Parameters
    ----------
    there : DataFrame, shape (n, columns)
        The rows that are there, decoded or not.
    files : sequence of Path
        CSV files with the columns of the contract, in any order; ``predicted_at`` may be there too.

    Returns
    -------
    rows : DataFrame, shape (m, columns of the contract, and ``predicted_at`` where a file has it)
        The new rows of all files, decoded.
    skipped : int
        How many rows were there already, or earlier in the files.

    Raises
    ------
    RowsRefused
        With every violation of the first file that has any.
    DataError
        When a file is no table.
    """
    if violations := other_columns(contract, there):
        raise RowsRefused("the contract's source", violations)
    known: dict[str, list[Cells]] = {}
    for name, cells in _identified(contract, decode(there, contract.columns)):
        known.setdefault(name, []).append(cells)
    added, skipped = [], 0
    for file in files:
        frame = read_csv(file)
        beside = {TIME} & {*frame} - {*contract.header}
        if violations := other_columns(contract, frame.drop(columns=beside)):
            raise RowsRefused(file, violations)
        frame = decode(frame[[*contract.header, *beside]], contract.columns)
        violations = refusals(contract, frame) + list(_no_times(frame))
        refused = {violation.row for violation in violations}
        new = []
        for row, (name, cells) in enumerate(_identified(contract, frame)):
            same = known.setdefault(name, [])
            if row in refused:
                continue
            if cells in same:
                skipped += 1
            elif same:
                violations += _conflict(contract, row, cells, same[-1])
            else:
                same.append(cells)
                new.append(row)
        if violations:
            raise RowsRefused(file, sorted(violations, key=lambda found: found.row or 0), FIRST_ROW)
        added.append(frame.iloc[new])
    return pd.concat(added, ignore_index=True), skipped


def times(contract: Contract, root: Path, frame: pd.DataFrame) -> NDArray[np.datetime64]:
    """When each row was predicted, as the files of labelled rows say, else the contract's time; or NaT.

    Parameters
    ----------
    root : Path
        The clone.
    frame : DataFrame, shape (n, columns)
        Validated rows.

    Returns
    -------
    ndarray of datetime64, shape (n,), UTC

    Raises
    ------
    DataError
        Where the contract's time is a number and no file says when a row was predicted.
    """
    found = pd.Series(pd.NaT, range(len(frame)), dtype="datetime64[ns, UTC]")
    column, numbers = contract.split.column, False
    if contract.split.by == "time" and column:
        cells = moments(frame[column].reset_index(drop=True))
        numbers = pd.api.types.is_numeric_dtype(cells)
        found = found if numbers else pd.to_datetime(cells, **ISO)
    known: dict[str, pd.Timestamp] = {}
    for file in sorted((root / LABELS).glob("*.csv")):
        labelled = read_csv(file)
        if TIME in labelled:
            names = row_ids(contract, decode(labelled, contract.columns))
            known |= dict(zip(names, _times(labelled), strict=True))
    logged = pd.Series(row_ids(contract, frame)).map(known)
    if numbers and logged.isna().all():
        problem = f"the time column {column!r} holds numbers, so no row has a date to compare with"
        remedy = f"Write it as dates such as 2026-11-30, or add labelled rows with `{TIME}`."
        raise DataError("data/validated", problem, remedy)
    return pd.to_datetime(logged, **ISO).fillna(found).dt.tz_localize(None).to_numpy()


def recent(contract: Contract, root: Path, frame: pd.DataFrame) -> Mask:
    """The rows that may be trained on: all, or after a change of concept those from after it.

    Parameters
    ----------
    root : Path
        The clone, whose ``data/source/labels/since.txt`` may name the time of the change.
    frame : DataFrame, shape (n, columns)
        Validated rows; those without a time are older.

    Raises
    ------
    DataError
        When the file holds no time.
    """
    if not (root / SINCE).is_file():
        return np.ones(len(frame), bool)
    text = (root / SINCE).read_text().strip()
    moment = pd.to_datetime(text, **ISO)
    if moment is pd.NaT:
        raise DataError(SINCE, f"{text!r} is no time such as 2026-11-24T12:00:00Z")
    after: Mask = times(contract, root, frame) > moment.tz_localize(None).to_datetime64()
    return after


def _times(frame: pd.DataFrame) -> pd.Series:
    return pd.to_datetime(frame[TIME], **ISO)


def _no_times(frame: pd.DataFrame) -> Iterator[Violation]:
    """The cells of ``predicted_at`` that hold something else than a time."""
    if TIME in frame:
        for row in np.flatnonzero(_times(frame).isna() & frame[TIME].notna()).tolist():
            allowed = "a date and time, such as 2026-11-24T12:00:00Z, or nothing"
            yield Violation(row, TIME, show(frame[TIME].iloc[row]), allowed)


def _identified(contract: Contract, frame: pd.DataFrame) -> Iterator[tuple[str, Cells]]:
    """The identity of each row, and its cells in contract order; null is None, which equals itself."""
    cells = frame[[column.name for column in contract.columns]].astype(object)
    cells = cells.where(cells.notna(), None)
    # A name that is a number in the source is text in a CSV file.
    named = frame.assign(**{key: frame[key].astype(str) for key in contract.keys})
    return zip(row_ids(contract, named), cells.itertuples(index=False, name=None), strict=True)


def _conflict(contract: Contract, row: int, cells: Cells, known: Cells) -> Iterator[Violation]:
    """The values that differ from those of the row of the same identity."""
    for column, cell, other in zip(contract.columns, cells, known, strict=True):
        if cell != other:
            allowed = f"{show(other)}, as the same row has already"
            yield Violation(row, column.name, show(cell), allowed)
