"""Tables in files: CSV and Parquet to DataFrames that the contract can validate, and back.

Decoding never guesses. A cell that should be a number and is not keeps its text, so that whoever
validates the table can name it.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mlref.core import rows
from mlref.core.contract import Column, Contract
from mlref.core.errors import DataError, RowsRefused
from mlref.core.storage import digest, replacing

FIRST_ROW = 2
"""Line of a CSV file that holds row 0; line 1 is the header."""


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file as text cells; an empty cell is null.

    Raises
    ------
    DataError
        For a file that is empty, not UTF-8, ragged, without rows, or names a column twice.
    """
    try:
        cells = pd.read_csv(
            path, header=None, dtype=object, keep_default_na=False, na_values=[""],
            encoding="utf-8-sig", skip_blank_lines=False, low_memory=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise DataError(path, "there is no such file") from error
    except IsADirectoryError as error:
        raise DataError(path, "is a folder") from error
    except UnicodeDecodeError as error:
        line = _undecodable(path)
        remedy = "Save it as UTF-8 and try again."
        raise DataError(path, f"line {line} is not UTF-8 text ({error.reason})", remedy) from error
    except pd.errors.EmptyDataError as error:
        raise DataError(path, "the file is empty") from error
    except pd.errors.ParserError as error:
        problem = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        raise DataError(path, f"is not a table ({problem})") from error
    if cells.iloc[0].isna().any():
        raise DataError(path, f"column {int(cells.iloc[0].isna().argmax()) + 1} has no name")
    header = [str(name) for name in cells.iloc[0]]
    with path.open(
        encoding="utf-8-sig", newline=""
    ) as lines:  # pandas fills a short row with nulls
        for line, row in enumerate(csv.reader(lines), 1):
            if row and len(row) < len(header):
                problem = f"Expected {len(header)} fields in line {line}, saw {len(row)}"
                raise DataError(path, f"is not a table ({problem})")
    return checked(path, cells.iloc[1:].reset_index(drop=True).set_axis(header, axis=1))


def _undecodable(path: Path) -> int:
    """Number of the first line that is not UTF-8."""
    content = path.read_bytes()
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return content[: error.start].count(b"\n") + 1
    return 1


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a Parquet file.

    Raises
    ------
    DataError
        For a file that is missing, truncated or not Parquet.
    """
    try:
        return checked(path, pd.read_parquet(path, engine="pyarrow"))
    except FileNotFoundError as error:
        raise DataError(path, "there is no such file", "Run `make train` to write it.") from error
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        problem = str(error).splitlines()[0]
        raise DataError(path, f"is not a complete Parquet file ({problem})") from error


def checked(path: Path | str, frame: pd.DataFrame) -> pd.DataFrame:
    """The same frame, which must have rows, and columns of different names."""
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(path, f"the column {twice[0]!r} is there twice", "Drop or rename one.")
    if frame.empty:
        raise DataError(path, "the file has a header and no rows")
    return frame


def decode(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Give the named columns the types of the contract, where their cells allow it.

    Text of a number becomes a float64. A cell that is no number keeps what it holds, and its column
    stays an object column. Columns that the frame lacks are left out; others are kept as they are.

    Examples
    --------
    >>> from mlref.core.contract import Column
    >>> size = Column(name="size", title="S", meaning="S", type="number", valid=(10, 80), example=25)
    >>> decode(pd.DataFrame({"size": ["21.5", "tall", None]}), [size])["size"].tolist()
    [21.5, 'tall', nan]
    """
    decoded = frame.copy()
    for column in columns:
        if column.name in frame and not column.is_text:
            decoded[column.name] = _numbers(frame[column.name])
    return decoded


def _numbers(cells: pd.Series) -> pd.Series:
    if cells.dtype.kind in "fiu":
        return cells.astype(np.float64)
    values = [_number(cell) for cell in cells.astype(object)]
    clean = all(isinstance(value, float) for value in values)
    return pd.Series(values, index=cells.index, dtype=np.float64 if clean else object)


def _number(cell: object) -> object:
    if isinstance(cell, (bool, np.bool_)):
        return bool(cell)
    if cell is None or cell is pd.NA:
        return np.nan
    if (
        isinstance(cell, str) and "_" in cell
    ):  # Python reads 1_000 as a number; no CSV file means it
        return cell
    try:
        return float(cell)  # type: ignore[arg-type] # what it is not, it raises
    except (TypeError, ValueError, OverflowError):
        return cell


def encode(contract: Contract, frame: pd.DataFrame) -> tuple[rows.Array, rows.Array]:
    """Encode a validated frame.

    Returns
    -------
    features : ndarray of float64, shape (n, features)
    target : ndarray of float64, shape (n,), in the target's unit

    Raises
    ------
    RowsRefused
        When the frame was not validated after all.
    """
    table = {column.name: frame[column.name].to_numpy() for column in contract.columns}
    verdict = rows.validate(contract.columns, table)
    if verdict.refused:
        raise RowsRefused("the table", verdict.refused)
    return np.ascontiguousarray(verdict.array[:, :-1]), verdict.array[:, -1].copy()


def row_ids(contract: Contract, frame: pd.DataFrame) -> list[str]:
    """Name each row by its identity: the contract's ``identity`` columns, else all features.

    Returns
    -------
    list of str, length n
        16 hexadecimal digits each, the same on every machine; equal for copies of a row, also where
        they hold nulls.
    """
    cells = frame[list(contract.identity or contract.names)].astype(object)
    cells = cells.where(cells.notna(), None)  # a null equals a null, which NaN does not
    rows = cells.itertuples(index=False, name=None)
    return [digest(json.dumps(row, default=str).encode())[:16] for row in rows]


def fingerprint(features: rows.Array, target: rows.Array) -> str:
    """Identify encoded rows by a digest of their content, whatever file they came in."""
    return digest(np.column_stack([features, target]).tobytes())


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Replace a CSV file."""
    with replacing(path) as fresh:
        frame.to_csv(fresh, index=False, lineterminator="\n")


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Replace a Parquet file."""
    with replacing(path) as fresh:
        frame.to_parquet(fresh, engine="pyarrow", index=False)
