"""Validate rows against the contract: encode values, refuse impossible ones, warn of unusual ones.

The service, batch scoring and imported labels all validate here; only the decoding of JSON, CSV or Parquet
differs. Great Expectations validates whole datasets from the same contract; a property test compares the
two.
"""

import datetime
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlref.core.contract import Column, Contract, day
from mlref.core.errors import Violation

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class DictionaryColumn:
    """A column in dictionary encoding: cell i is ``distinct[index[i]]``, and each value is validated once."""

    index: NDArray[np.intp]
    distinct: Sequence[object]

    def __len__(self) -> int:
        """How many cells there are."""
        return len(self.index)

    def __getitem__(self, row: int) -> object:
        """One cell."""
        return self.distinct[self.index[row]]


Plain = Sequence[object] | NDArray[Any]
Cells = Plain | DictionaryColumn


class Masks(NamedTuple):
    """The result of validation as three arrays of shape (n, columns).

    Parameters
    ----------
    array : ndarray of float64
        Encoded rows, as in :class:`ValidationResult`, in column-major order.
    refused, unusual : ndarray of bool
        True where the contract forbids the cell, or where it is valid but outside ``expected``.
    """

    array: Array
    refused: Mask
    unusual: Mask


@dataclass
class ValidationResult:
    """The result of validating n rows.

    Parameters
    ----------
    array : ndarray of float64, shape (n, columns)
        Encoded rows in contract order: numbers as they are, a category or boolean as its index in
        ``allowed``, a date as days since ``origin``, null as NaN. Refused cells hold NaN too; ask
        ``refused`` before using it.
    refused : list of Violation
        Values that the contract forbids.
    unusual : list of Violation
        Values that are valid but outside ``expected``.
    """

    array: Array
    refused: list[Violation] = field(default_factory=list)
    unusual: list[Violation] = field(default_factory=list)


def validate(columns: Sequence[Column], table: Mapping[str, Cells]) -> ValidationResult:
    """Validate a table that has every column.

    Parameters
    ----------
    columns : sequence of Column
        The columns to validate, in the order of the encoded array.
    table : mapping of str to sequence
        Cells by column name, all of length n: Python values, a NumPy array or a dictionary column.

    Examples
    --------
    >>> from mlref.core.contract import Column
    >>> age = Column(name="age", title="Age", meaning="Age.", type="number",
    ...              valid=(0, 120), expected=(18, 80), example=50)
    >>> result = validate([age], {"age": [50, 90.5, 700, "59"]})
    >>> [violation.row for violation in result.refused], result.unusual[0].row
    ([2, 3], 1)
    """
    found = masks(columns, table)
    result = ValidationResult(np.ascontiguousarray(found.array))
    for place, column in enumerate(columns):
        cells = table[column.name]
        for row in np.flatnonzero(found.refused[:, place]).tolist():
            result.refused.append(Violation(row, column.name, show(cells[row]), column.accepts))
        for row in np.flatnonzero(found.unusual[:, place]).tolist():
            result.unusual.append(Violation(row, column.name, show(cells[row]), usual(column)))
    return result


def masks(columns: Sequence[Column], table: Mapping[str, Cells]) -> Masks:
    """Validate as :func:`validate` does, without a sentence for each cell.

    Examples
    --------
    >>> from mlref.core.contract import Column
    >>> heating = Column(name="heating", title="Heating", meaning="What heats.", type="category",
    ...                  allowed=("gas", "oil"), example="gas")
    >>> cells = DictionaryColumn(np.array([0, 1, 0]), ["oil", "coal"])
    >>> found = masks([heating], {"heating": cells})
    >>> found.array.ravel(), found.refused.ravel()
    (array([ 1., nan,  1.]), array([False,  True, False]))
    """
    shape = (len(table[columns[0].name]), len(columns))
    array = np.empty(shape, order="F")
    refused, unusual = np.empty(shape, bool, order="F"), np.zeros(shape, bool, order="F")
    for place, column in enumerate(columns):
        values, malformed = _encode(column, table[column.name])
        bad = malformed | _impossible(column, values)
        array[:, place], refused[:, place] = np.where(bad, np.nan, values), bad
        if column.expected is not None:
            lo, hi = column.expected
            unusual[:, place] = ((values < lo) | (values > hi)) & ~bad
    return Masks(array, refused, unusual)


def usual(column: Column) -> str:
    """The range that a column's values usually keep, as words: ``18 to 80 years``."""
    if column.expected is None:
        return "anything"
    lo, hi = column.expected
    return f"{lo:.12g} to {hi:.12g}" + (f" {column.unit}" if column.unit else "")


def warning(column: Column) -> str:
    """The sentence about a value of this column that is possible but unusual."""
    return f"{column.name} is unusual: expected {usual(column)}."


def validate_records(
    contract: Contract, records: Sequence[Mapping[str, object]]
) -> ValidationResult:
    """Validate rows that come as mappings of the name of each feature to its value."""
    table = {name: [record[name] for record in records] for name in contract.names}
    return validate(contract.features, table)


def _encode(column: Column, cells: Cells) -> tuple[Array, Mask]:
    """Cells as float64, and a mask of those that are not of the column's type."""
    if isinstance(cells, DictionaryColumn):
        values, malformed = _encode(column, cells.distinct)
        return values[cells.index], malformed[cells.index]
    if column.type == "date":
        days = [np.nan if _is_null(cell) else column.days(cell) for cell in cells]
        none = np.array([found is None for found in days], dtype=np.bool_)
        return np.array(days, dtype=np.float64), none
    if column.type == "boolean" or column.is_text:
        kinds = str if column.is_text else (bool, np.bool_)
        codes = {value: float(code) for code, value in enumerate(column.allowed or ())}
        values = np.array([_code(cell, codes, kinds) for cell in cells], dtype=np.float64)
        return values, values < 0
    values, malformed = _numbers(cells)
    if column.allowed is not None:
        places = np.full_like(values, np.nan)
        for place, value in enumerate(column.allowed):
            places[values == value] = place
        malformed |= np.isnan(places) & ~np.isnan(values)
        values = places
    return values, malformed


def _code(cell: object, codes: Mapping[Any, float], kinds: Any) -> float:
    """The code of a text or boolean, NaN for null, -1 for anything else."""
    if _is_null(cell):
        return np.nan
    return codes.get(cell, -1.0) if isinstance(cell, kinds) else -1.0


def _numbers(cells: Plain) -> tuple[Array, Mask]:
    """Numbers as float64; text, booleans and anything else are marked as malformed."""
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "fiu":
        return cells.astype(np.float64, copy=False), np.zeros(len(cells), dtype=np.bool_)
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


def _impossible(column: Column, values: Array) -> Mask:
    lo, hi = column.bounds
    bad = ~((values >= lo) & (values <= hi))  # true of NaN, too
    if column.type == "integer":
        bad |= np.floor(values) != values
    if column.nullable:
        bad &= ~np.isnan(values)
    return bad


def _is_null(cell: object) -> bool:
    return cell is None or (isinstance(cell, (float, np.floating)) and bool(np.isnan(cell)))


WORDS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
"""How files write a boolean."""


def from_file(column: Column, cell: object) -> object:
    """Convert a cell of a file to its column's type; return it unchanged where that is not possible.

    Training and batch scoring share this function. An empty cell is None or NaN.

    Examples
    --------
    >>> from mlref.core.contract import Column
    >>> lift = Column(name="lift", title="L", meaning="L", type="boolean", example=True)
    >>> from_file(lift, "TRUE"), from_file(lift, "maybe")
    (True, 'maybe')
    """
    if _is_null(cell) or (column.is_text and isinstance(cell, str)):
        return cell
    if column.is_text:
        return str(cell)
    if column.type == "date":
        found = day(cell)
        return cell if found is None else found.isoformat()
    if column.type == "boolean":
        return WORDS.get(str(cell).lower(), cell)
    if isinstance(cell, (bool, np.bool_)):
        return bool(cell)
    if isinstance(cell, str) and "_" in cell:  # Python reads 1_000 as a number; no file means it
        return cell
    try:
        return float(cell)  # type: ignore[arg-type] # what it is not, it raises
    except (TypeError, ValueError, OverflowError):
        return cell


def show(cell: object) -> str:
    """A value as a message may print it: short, and on one line."""
    if isinstance(cell, np.generic):
        cell = cell.item()
    if _is_null(cell):
        return "null"
    if isinstance(cell, datetime.date):
        return str(cell)
    return f"{cell:.6g}" if isinstance(cell, float) else reprlib.repr(cell)


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
        lo, hi = column.valid or column.span
        if column.allowed is not None:
            array[:, place] = generator.integers(len(column.allowed), size=count)
        else:
            array[:, place] = generator.uniform(lo, hi, size=count)
        if column.type in ("integer", "date"):
            array[:, place] = np.clip(np.round(array[:, place]), np.ceil(lo), np.floor(hi))
        if column.nullable:
            array[generator.random(count) < 0.1, place] = np.nan
    return array
