"""Tables in files: CSV and Parquet to DataFrames that the contract can validate, and back.

Decoding never guesses. A cell that should be a number and is not keeps its text, so that whoever
validates the table can name it.
"""

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlref.core import rows
from mlref.core.contract import Column, Contract
from mlref.core.errors import DataError, RowsRefused, Violation
from mlref.core.storage import digest, replacing

FIRST_ROW = 2
"""Line of a CSV file that holds row 0; line 1 is the header."""


SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def read_csv(path: Path, separator: str = ",", encoding: str = "utf-8") -> pd.DataFrame:
    """Read a CSV file, which may be compressed by gzip, as text cells; an empty cell is null.

    Rows at the end that hold nothing, as spreadsheets leave them, are no rows.

    Raises
    ------
    DataError
        For a file that is empty, of another encoding or separator, ragged, without rows, or names a column
        twice. Where a quote is not closed, its line is named.
    """
    text = _text(path, encoding)
    line = text.partition("\n")[0]
    other = max(SEPARATORS, key=line.count)
    if other in line and separator not in line:
        problem = f"separates its columns by {SEPARATORS[other]}, not by {SEPARATORS[separator]}"
        remedy = "Say so in the contract's source: `separator: {!r}`, and `decimal: ','` where it is one."
        raise DataError(path, problem, remedy.format(other))
    header, cells = _records(path, text, separator)
    if not header:
        raise DataError(path, "the file is empty")
    if "" in header:
        raise DataError(path, f"column {header.index('') + 1} has no name")
    while cells and not any(isinstance(cell, str) for cell in cells[-1]):
        cells.pop()
    return checked(path, pd.DataFrame(cells, columns=header, dtype=object))


def _text(path: Path, encoding: str) -> str:
    """The text of a file, unfolded and decoded."""
    try:
        content = path.read_bytes()
        if path.suffix.lower() == ".gz":
            content = gzip.decompress(content)
        return content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except FileNotFoundError as error:
        raise DataError(path, "there is no such file") from error
    except IsADirectoryError as error:
        raise DataError(path, "is a folder") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(path, f"is not a complete gzip file ({error})") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        remedy = (
            "Save it as UTF-8, or name its encoding in the contract's source: `encoding: latin-1`."
        )
        name = encoding.upper()
        raise DataError(path, f"line {line} is not {name} text ({error.reason})", remedy) from error


def _records(path: Path, text: str, separator: str) -> tuple[list[str], list[list[object]]]:
    """The header and the cells, which may be of any length."""
    csv.field_size_limit(sys.maxsize)
    lines = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    header, cells, first = list[str](), list[list[object]](), 1
    try:
        header = next(lines, [])
        first = lines.line_num + 1
        for row in lines:
            if row and len(row) != len(header):
                raise csv.Error(f"Expected {len(header)} fields in line {first}, saw {len(row)}")
            if lines.line_num > first + 2 and _swallowed(row, separator):
                raise csv.Error(f"a quote of line {first} is closed in line {lines.line_num}")
            cells.append([cell or np.nan for cell in row or [""] * len(header)])
            first = lines.line_num + 1
    except csv.Error as error:
        remedy = f"Look at line {first}, where this record begins, for a quote that is not closed."
        raise DataError(path, f"is not a table ({error})", remedy * ('"' in text)) from error
    return header, cells


def _swallowed(row: list[str], separator: str) -> bool:
    """Whether a cell holds lines that are rows themselves: a stray quote opens it, another closes it."""
    inner = [line for cell in row for line in cell.splitlines()[1:-1]]
    return len(row) > 1 and len(inner) > 1 and all(
        line.count(separator) == len(row) - 1 for line in inner
    )  # fmt: skip


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


def read_stage(contract: Contract, path: Path, stage: str) -> pd.DataFrame:
    """Read the rows that an earlier stage has written by this contract.

    Raises
    ------
    DataError
        For rows of an earlier contract; it names the stage to run.
    """
    frame = read_parquet(path)
    if changed := other_columns(contract, frame):
        names = ", ".join(repr(it.column) for it in changed)
        problem = f"was written by an earlier contract, which differs in {names}"
        remedy = f"Run `mlref {stage}` first; `make train` runs every stage that has to run again."
        raise DataError(path, problem, remedy)
    return frame


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

    Text of a number becomes a float64, of a boolean a bool, of a time its day. A cell that is none of these
    keeps what it holds, and its column stays an object column. Columns that the frame lacks are left out;
    others are kept as they are.

    Examples
    --------
    >>> from mlref.core.contract import Column
    >>> size = Column(name="size", title="S", meaning="S", type="number", valid=(10, 80), example=25)
    >>> decode(pd.DataFrame({"size": ["21.5", "tall", None]}), [size])["size"].tolist()
    [21.5, 'tall', nan]
    """
    decoded = frame.copy()
    for column in columns:
        if column.name in frame:
            decoded[column.name] = _decoded(column, frame[column.name])
    return decoded


def _decoded(column: Column, cells: pd.Series) -> pd.Series:
    if column.is_number and cells.dtype.kind in "fiu":
        return cells.astype(np.float64)
    plain = cells.astype(object)
    values = [rows.from_file(column, cell) for cell in plain.where(plain.notna(), np.nan)]
    clean = column.is_number and all(isinstance(value, float) for value in values)
    return pd.Series(values, index=cells.index, dtype=np.float64 if clean else object)


def with_target(contract: Contract, frame: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.intp]]:
    """The rows that have a target, where the contract drops the others, and their places; else all rows.

    Raises
    ------
    DataError
        When no row has one.
    """
    name, places = contract.target.name, np.arange(len(frame))
    if contract.missing_target == "refuse" or name not in frame:
        return frame, places
    places = np.flatnonzero(frame[name].notna())
    if not len(places):
        raise DataError("data/raw/dataset.csv", f"no row has a value of the target {name!r}")
    return frame.iloc[places].reset_index(drop=True), places


def other_columns(contract: Contract, frame: pd.DataFrame) -> list[Violation]:
    """The columns that a table of labelled rows lacks, and those that the contract does not know."""
    allowed = ", ".join(contract.header)
    given = [str(name) for name in frame if name not in contract.ignore]
    return [
        Violation(None, name, "no such column", allowed)
        for name in contract.header if name not in given
    ] + [
        Violation(None, name, "an unknown column", allowed)
        for name in given if name not in contract.header
    ]  # fmt: skip


def refusals(contract: Contract, frame: pd.DataFrame) -> list[Violation]:
    """The cells of a decoded table that the contract forbids, sorted by row."""
    nameless = []
    for key in contract.keys:
        cells, needed = frame[key], "a value that names the row"
        if key == contract.split.column:
            needed = "a value that names the group of the row"
            if contract.split.by == "time":
                cells, needed = times(cells), "a number, or a date such as 2026-11-30"
        nameless += [
            Violation(row, key, rows.show(frame[key].iloc[row]), needed)
            for row in np.flatnonzero(cells.isna()).tolist()
        ]
    found = validate(contract, frame).refused
    return sorted(nameless + found, key=lambda violation: violation.row or 0)


def times(cells: pd.Series) -> pd.Series:
    """Numbers, or moments of ISO 8601, that can be sorted; null where a cell is neither.

    Examples
    --------
    >>> times(pd.Series(["2026-01-31", "2025-12-01", "soon"])).rank().tolist()
    [2.0, 1.0, nan]
    """
    numbers = pd.to_numeric(cells, errors="coerce")
    if numbers.count() == cells.count():
        return numbers
    moments = pd.to_datetime(cells.astype(str), errors="coerce", format="ISO8601", utc=True)
    return max((numbers, moments), key=pd.Series.count)


def validate(contract: Contract, frame: pd.DataFrame) -> rows.ValidationResult:
    """Validate the features and the target of a decoded table; see :func:`mlref.core.rows.validate`."""
    table = {column.name: frame[column.name].to_numpy() for column in contract.columns}
    return rows.validate(contract.columns, table)


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
    result = validate(contract, frame)
    if result.refused:
        remedy = (
            "Run `mlref validate` first: the contract has changed since these rows were written."
        )
        raise RowsRefused("the table", result.refused, remedy=remedy)
    return np.ascontiguousarray(result.array[:, :-1]), result.array[:, -1].copy()


def row_ids(contract: Contract, frame: pd.DataFrame) -> list[str]:
    """Name each row by its identity: the contract's ``identity`` columns, else all features.

    Where no column names a row, the one by which rows are divided counts too: two persons, or two days,
    with equal features are two rows.

    Returns
    -------
    list of str, length n
        16 hexadecimal digits each, the same on every machine; equal for copies of a row, also where
        they hold nulls.
    """
    named = contract.identity or (*contract.keys, *contract.names)
    cells = frame[list(named)].astype(object)
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
