"""The one judge of a row: encode values by the contract, refuse the impossible, warn of the unusual.

The service, batch scoring and labels ask here; only the decoding of JSON, CSV or Parquet differs.
Great Expectations judges whole datasets from the same contract; a property test holds the two
verdicts together.
"""

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlref.contract import Column, Contract
from mlref.errors import Finding

Array = NDArray[np.float64]
Cells = Sequence[object] | NDArray[Any]


@dataclass
class Verdict:
    """What the judge says of n rows.

    Parameters
    ----------
    array : ndarray of float64, shape (n, columns)
        Encoded rows in contract order: numbers as they are, a category as its index in
        ``allowed``, null as NaN. Refused cells hold NaN too; ask ``refused`` before using it.
    refused : list of Finding
        Values that the contract forbids.
    unusual : list of Finding
        Values that are valid but outside ``expected``.
    """

    array: Array
    refused: list[Finding] = field(default_factory=list)
    unusual: list[Finding] = field(default_factory=list)


def judge(columns: Sequence[Column], table: Mapping[str, Cells]) -> Verdict:
    """Judge a table that has every column.

    Parameters
    ----------
    columns : sequence of Column
        What to judge, in the order of the array that comes back.
    table : mapping of str to sequence
        Cells by column name, all of one length n. Cells are Python values or a NumPy array.

    Examples
    --------
    >>> from mlref.contract import Column
    >>> age = Column(name="age", title="Age", meaning="Age.", type="number",
    ...              valid=(0, 120), expected=(18, 80), example=50)
    >>> verdict = judge([age], {"age": [50, 90.5, 700, "59"]})
    >>> [finding.row for finding in verdict.refused], verdict.unusual[0].row
    ([2, 3], 1)
    """
    encoded = [_encode(column, table[column.name]) for column in columns]
    verdict = Verdict(np.column_stack([values for values, _ in encoded]))
    for place, (column, (values, malformed)) in enumerate(zip(columns, encoded, strict=True)):
        cells = table[column.name]
        bad = malformed | _impossible(column, values)
        verdict.array[bad, place] = np.nan
        for row in np.flatnonzero(bad).tolist():
            verdict.refused.append(Finding(row, column.name, show(cells[row]), column.accepts))
        if column.expected is not None:
            lo, hi = column.expected
            usual = f"{lo:.12g} to {hi:.12g}" + (f" {column.unit}" if column.unit else "")
            for row in np.flatnonzero(~bad & ((values < lo) | (values > hi))).tolist():
                verdict.unusual.append(Finding(row, column.name, show(cells[row]), usual))
    return verdict


def judge_records(contract: Contract, records: Sequence[object]) -> Verdict:
    """Judge rows that come as a list of mappings, such as decoded JSON.

    Each record must be a mapping with the names of the features as its keys, no more, no less.
    """
    names = contract.names
    shape: list[Finding] = []
    absent: set[tuple[int, str]] = set()
    for row, record in enumerate(records):
        given = record.keys() if isinstance(record, Mapping) else ()
        absent |= {(row, name) for name in names if name not in given}
        if not isinstance(record, Mapping):
            shape.append(Finding(row, None, _kind(record), "an object of column names to values"))
            continue
        for column in contract.features:
            if column.name not in record:
                shape.append(Finding(row, column.name, "nothing", column.accepts))
        for name in sorted(str(key) for key in record.keys() - set(names)):
            shape.append(Finding(row, name, "an unknown column", ", ".join(names)))
    table = {
        name: [None if (row, name) in absent else record[name] for row, record in enumerate(records)]  # type: ignore[index]
        for name in names
    }
    verdict = judge(contract.features, table)
    values = [cell for cell in verdict.refused if (cell.row, cell.column) not in absent]
    return Verdict(verdict.array, shape + values, verdict.unusual)


def _encode(column: Column, cells: Cells) -> tuple[Array, NDArray[np.bool_]]:
    """Cells as float64, and a mask of those that are not of the column's type."""
    if column.allowed is not None and isinstance(column.allowed[0], str):
        codes = {str(value): float(code) for code, value in enumerate(column.allowed)}
        values = np.array([_code(cell, codes) for cell in cells], dtype=np.float64)
        return values, values < 0
    values, malformed = _numbers(cells)
    if column.allowed is not None:
        match = values[:, None] == np.array(column.allowed, dtype=np.float64)
        malformed |= ~match.any(axis=1) & ~np.isnan(values)
        values = np.where(match.any(axis=1), match.argmax(axis=1), np.nan)
    return values, malformed


def _code(cell: object, codes: Mapping[str, float]) -> float:
    """The code of a text category, NaN for null, -1 for anything else."""
    if _is_null(cell):
        return np.nan
    return codes.get(cell, -1.0) if isinstance(cell, str) else -1.0


def _numbers(cells: Cells) -> tuple[Array, NDArray[np.bool_]]:
    """Numbers as float64; text, booleans and anything else are marked as malformed."""
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "fiu":
        return cells.astype(np.float64), np.zeros(len(cells), dtype=np.bool_)
    malformed = np.zeros(len(cells), dtype=np.bool_)
    values = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if isinstance(cell, (int, float, np.integer, np.floating)) and not isinstance(cell, bool):
            try:
                values[row] = cell
            except OverflowError:  # an integer of 310 digits and more
                values[row] = np.inf
        elif not _is_null(cell):
            malformed[row] = True
    return values, malformed


def _impossible(column: Column, values: Array) -> NDArray[np.bool_]:
    null = np.isnan(values)
    bad = null if not column.nullable else np.zeros_like(null)
    if column.type == "integer":
        bad = bad | (~null & (np.floor(values) != values))
    if column.valid is not None:
        bad = bad | (values < column.valid[0]) | (values > column.valid[1])
    return bad


def _is_null(cell: object) -> bool:
    return cell is None or (isinstance(cell, (float, np.floating)) and bool(np.isnan(cell)))


def show(cell: object) -> str:
    """A value as a message may print it: short, and on one line."""
    if isinstance(cell, np.generic):
        cell = cell.item()
    if _is_null(cell):
        return "null"
    return f"{cell:.6g}" if isinstance(cell, float) else reprlib.repr(cell)


def _kind(value: object) -> str:
    """The JSON name of a value's type."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def generate(contract: Contract, count: int, seed: int) -> Array:
    """Make encoded rows that the contract accepts, uniformly over what is valid.

    For checks and benchmarks that need rows without needing anybody's data.

    Returns
    -------
    ndarray of float64, shape (count, features)
        NaN in about a tenth of the cells of nullable columns.
    """
    generator = np.random.default_rng(seed)
    array = np.empty((count, len(contract.features)))
    for place, column in enumerate(contract.features):
        if column.valid is None:
            array[:, place] = generator.integers(len(column.allowed or ()), size=count)
        else:
            array[:, place] = generator.uniform(*column.valid, size=count)
        if column.type == "integer":
            lo, hi = column.valid or (0, 0)
            array[:, place] = np.clip(np.round(array[:, place]), np.ceil(lo), np.floor(hi))
        if column.nullable:
            array[generator.random(count) < 0.1, place] = np.nan
    return array
