"""Columns of Arrow as the contract's: which types they may have, their cells, and back."""

import contextlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlref.batch.read import Table
from mlref.core.contract import Column, Contract
from mlref.core.errors import SHOWN, DataError
from mlref.core.rows import Array, Cells, DictionaryColumn

ADDED = pa.schema(
    {
        "prediction": pa.float64(),
        "lower": pa.float64(),
        "upper": pa.float64(),
        "warnings": pa.list_(pa.string()),
        "model_version": pa.string(),
    }
)
"""The columns that a part has after those of its input."""

WORDS = (pa.string(), pa.large_string(), pa.bool_(), pa.null())
"""Types, beside numbers, that mean what a JSON value can mean."""


def part_schema(table: Table, name: str, contract: Contract, key: str | None) -> pa.Schema:
    """The columns of the part; the features that are numbers written as text become numbers.

    Raises
    ------
    DataError
        For a column that is missing, of another type, or in the way.
    """
    schema, have = table.schema, set(table.schema.names)
    there = ", ".join(map(repr, schema.names[:SHOWN])) + ", …" * (len(schema.names) > SHOWN)
    if missing := [column for column in contract.names if column not in have]:
        raise DataError(name, f"lacks {', '.join(map(repr, missing))}; it has: {there}")
    if taken := [column for column in ADDED.names if column in have]:
        problem = f"has a column {taken[0]!r}, which scoring adds"
        raise DataError(name, problem, "Rename or drop it.")
    if key is not None:
        if key not in have:
            raise DataError(name, f"has no column {key!r}; it has: {there}")
        kind = schema.field(key).type
        unnamed = pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType)
        if unnamed or key in table.constants:
            raise DataError(name, f"the column {key!r} of type {kind} cannot name a row")
    for column in contract.features:
        place = schema.get_field_index(column.name)
        kind = schema.field(place).type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        if plain not in WORDS and not _is_number(plain):
            problem = f"the column {column.name!r} is of type {kind}"
            raise DataError(name, problem, f"Write it as {column.accepts}.")
        if column.name in table.text and not column.is_text:
            schema = schema.set(place, pa.field(column.name, pa.float64()))
    return pa.schema([*schema, *ADDED])


def _is_number(kind: pa.DataType) -> bool:
    tests = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)
    return any(test(kind) for test in tests)


def cells(column: Column, found: pa.Array, text: bool) -> Cells:
    """The cells of one feature, as ``mlref.core.rows`` takes them.

    ``text`` says that the file holds nothing but text, so that a number is written as text.

    Examples
    --------
    >>> size = Column(name="size", title="S", meaning="S", type="number", valid=(1, 9), example=2)
    >>> cells(size, pa.array(["2", "2.5", None]), text=True)
    array([2. , 2.5, nan])
    >>> [cells(size, pa.array(["2", "tall"]), text=True)[row] for row in (0, 1)]
    [2.0, 'tall']
    """
    if pa.types.is_dictionary(found.type):
        found = found.dictionary_decode()
    is_number = text and not column.is_text
    if is_number:
        with contextlib.suppress(pa.ArrowInvalid):
            values = _floats(found)
            # Arrow has more words for NaN than Python.
            if np.isnan(values).sum() == found.null_count:
                return values
    elif _is_number(found.type):
        return _floats(found)
    coded = found.dictionary_encode("encode")  # a null becomes one of the values
    distinct = coded.dictionary.to_pylist()
    if is_number:
        distinct = [*map(_number, distinct)]
    return DictionaryColumn(coded.indices.to_numpy(), distinct)


def _floats(found: pa.Array) -> Array:
    return pc.cast(found, pa.float64(), safe=False).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _number(cell: str | None) -> object:
    """The number that a text is; the text itself where it is none, as in ``mlref.data.tables``."""
    if cell is None or "_" in cell:  # Python reads 1_000 as a number; no file means it
        return cell
    try:
        return float(cell)
    except ValueError:
        return cell


def with_numbers(
    rows: pa.RecordBatch, text: frozenset[str], features: Sequence[Column], array: Array
) -> pa.RecordBatch:
    """Good rows with numbers, null for NaN, in the place of their text; ``array`` has them encoded."""
    for column, values in zip(features, array.T, strict=True):
        if column.name in text and not column.is_text:
            if column.allowed is not None:
                codes = np.nan_to_num(values, nan=-1).astype(np.intp)
                values = np.array([*column.allowed, np.nan])[codes]
            place = rows.schema.get_field_index(column.name)
            rows = rows.set_column(place, column.name, pa.array(values, from_pandas=True))
    return rows
