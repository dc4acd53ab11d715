"""Columns of Arrow as the contract's: which types they may have, their cells, and back."""

import contextlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlref.batch.files import Job
from mlref.core.contract import Column, Contract
from mlref.core.errors import SHOWN, DataError
from mlref.core.rows import Cells, DictionaryColumn, Mask, from_file

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

TEXT = (pa.string(), pa.large_string(), pa.null())
"""Types that any feature may have: what it holds, written as text."""

NUMBERS = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)

KINDS = {
    "date": (pa.types.is_date, pa.types.is_timestamp),
    "boolean": (pa.types.is_boolean, pa.types.is_integer),
}
"""Other types that the cells of a feature may have, by its own; a category of words is like a boolean."""


def part_schema(schema: pa.Schema, contract: Contract, job: Job) -> pa.Schema:
    """The columns of the part; features that are no text in the contract become what they are there.

    Raises
    ------
    DataError
        For a column that is missing, of another type, or in the way.
    """
    have = Counter([*schema.names, *ADDED.names])
    wanted = [*contract.names, *([] if job.key is None else [job.key])]
    if missing := [column for column in wanted if column not in have]:
        there = ", ".join(map(repr, schema.names[:SHOWN])) + ", …" * (len(schema.names) > SHOWN)
        raise DataError(job.name, f"lacks {', '.join(map(repr, missing))}; it has: {there}")
    if twice := [column for column, count in have.items() if count > 1]:
        remedy = f"Drop or rename one. Scoring adds {', '.join(ADDED.names)}."
        raise DataError(job.name, f"the column {twice[0]!r} is there twice", remedy)
    if job.key is not None and pa.types.is_nested(kind := schema.field(job.key).type):
        raise DataError(job.name, f"the column {job.key!r} of type {kind} cannot name a row")
    for column in contract.features:
        kind = schema.field(column.name).type
        tests = NUMBERS if column.is_number else KINDS.get(column.type, KINDS["boolean"])
        if kind not in TEXT and not any(test(kind) for test in tests):
            problem = f"the column {column.name!r} is of type {kind}"
            raise DataError(job.name, problem, f"Write it as {column.accepts}.")
        if kind != (wanted := _written(column, kind)):
            field = pa.field(column.name, wanted)
            schema = schema.set(schema.get_field_index(column.name), field)
    return pa.schema([*schema, *ADDED])


def _written(column: Column, kind: pa.DataType) -> pa.DataType:
    """The type as which a feature of this type is written."""
    if column.is_number:
        return pa.float64() if kind in TEXT else kind
    return {"boolean": pa.bool_(), "date": pa.date32()}.get(column.type, kind)


def cells(column: Column, found: pa.Array) -> Cells:
    """The cells of one feature, as ``mlref.core.rows`` takes them; text may stand for a number.

    Examples
    --------
    >>> size = Column(name="size", title="S", meaning="S", type="number", valid=(1, 9), example=2)
    >>> cells(size, pa.array(["2", "2.5", None]))
    array([2. , 2.5, nan])
    >>> [cells(size, pa.array(["2", "tall"]))[row] for row in (0, 1)]
    [2.0, 'tall']
    """
    if column.is_number:
        with contextlib.suppress(pa.ArrowInvalid):
            values = pc.cast(found, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            # Arrow has more words for NaN than Python.
            if found.type not in TEXT or np.isnan(values).sum() == found.null_count:
                return values
        return np.array([from_file(column, cell) for cell in found.to_pylist()], dtype=object)
    if pa.types.is_timestamp(found.type):
        found = pc.cast(found, pa.timestamp("us", found.type.tz), safe=False)  # Python has no finer
    coded = found.dictionary_encode("encode")  # a null becomes one of the values
    distinct = [from_file(column, cell) for cell in coded.dictionary.to_pylist()]
    return DictionaryColumn(coded.indices.to_numpy(), distinct)


def as_written(
    rows: pa.RecordBatch, schema: pa.Schema, given: Mapping[str, Any], good: Mask
) -> list[pa.Array]:
    """The columns of the good rows, of the types that the part's schema gives them."""
    if not good.all():
        rows = rows.filter(pa.array(good))
    columns: list[pa.Array] = rows.columns
    for place, field in enumerate(rows.schema):
        wanted = schema.field(field.name).type
        if field.type != wanted:
            cells = given[field.name]
            is_array = isinstance(cells, np.ndarray)  # of numbers, in which NaN is null
            found = (
                cells[good].astype(np.float64)
                if is_array
                else [cells[row] for row in np.flatnonzero(good)]
            )
            columns[place] = pa.array(found, from_pandas=True).cast(wanted)
    return columns
