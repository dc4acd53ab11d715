"""Columns of Arrow as the contract's: which types they may have, their cells, and back."""

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlref.batch.files import Job
from mlref.core.contract import Column, Contract
from mlref.core.errors import SHOWN, DataError
from mlref.core.rows import Cells, DictionaryColumn, Mask

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
"""Types that a category of words may have, and a number, written as text, too."""

NUMBERS = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)


def part_schema(schema: pa.Schema, contract: Contract, job: Job) -> pa.Schema:
    """The columns of the part; features that are numbers written as text become numbers.

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
        if kind not in TEXT and (column.is_text or not any(test(kind) for test in NUMBERS)):
            problem = f"the column {column.name!r} is of type {kind}"
            raise DataError(job.name, problem, f"Write it as {column.accepts}.")
        if kind in TEXT and not column.is_text:
            field = pa.field(column.name, pa.float64())
            schema = schema.set(schema.get_field_index(column.name), field)
    return pa.schema([*schema, *ADDED])


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
    if not column.is_text:
        with contextlib.suppress(pa.ArrowInvalid):
            values = pc.cast(found, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            # Arrow has more words for NaN than Python.
            if found.type not in TEXT or np.isnan(values).sum() == found.null_count:
                return values  # type: ignore[no-any-return]
        return np.array([_number(cell) for cell in found.to_pylist()], dtype=object)
    coded = found.dictionary_encode("encode")  # a null becomes one of the values
    return DictionaryColumn(coded.indices.to_numpy(), coded.dictionary.to_pylist())


def _number(cell: str | None) -> object:
    """The number that a text is; the text itself where it is none, as in ``mlref.data.tables``."""
    if cell is None or "_" in cell:  # Python reads 1_000 as a number; no file means it
        return cell
    try:
        return float(cell)
    except ValueError:
        return cell


def with_numbers(
    rows: pa.RecordBatch, features: Sequence[Column], given: Mapping[str, Any], good: Mask
) -> list[pa.Array]:
    """The columns of the good rows, with numbers in place of text."""
    if not good.all():
        rows = rows.filter(pa.array(good))
    columns: list[pa.Array] = rows.columns
    for column in features:
        place = rows.schema.get_field_index(column.name)
        if columns[place].type in TEXT and not column.is_text:
            numbers = given[column.name][good].astype(np.float64)
            columns[place] = pa.array(numbers, from_pandas=True)
    return columns
