"""Arrow columns as cells that the judge of rows takes: numbers as arrays, text by its distinct values.

What a cell means is decided here, whether it is allowed in ``mlref.core.rows`` alone. Arrays change hands
without ``pyarrow.array`` and ``to_numpy``, which import pandas where it is installed: half a second.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlref.core.contract import Column
from mlref.core.rows import Array, Cells, DictionaryColumn, Mask


def cells(column: Column, found: pa.Array, text: bool) -> Cells:
    """The cells of one feature.

    Parameters
    ----------
    column : Column
        What the contract says of it.
    found : Array
        What the file holds.
    text : bool
        Whether the file holds nothing but text, so that a number is written as text.

    Examples
    --------
    >>> size = Column(name="size", title="S", meaning="S", type="number", valid=(1, 9), example=2)
    >>> cells(size, pa.array(["2", "2.5", None]), text=True)
    array([2. , 2.5, nan])
    >>> [cells(size, pa.array(["2", "tall"]), text=True)[row] for row in (0, 1)]
    [2.0, 'tall']
    """
    kind = found.type
    if pa.types.is_dictionary(kind):
        found, kind = found.dictionary_decode(), kind.value_type
    if text and is_number(column):
        return _written_numbers(found)
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return _array(found)
    if pa.types.is_nested(kind):
        return found.to_pylist()  # type: ignore[no-any-return]
    return _repeated(found)


def _array(found: pa.Array) -> Array:
    values = pc.cast(found, pa.float64(), safe=False)
    return numpy(pc.fill_null(values, np.nan) if values.null_count else values)


def _repeated(found: pa.Array) -> DictionaryColumn:
    coded = found.dictionary_encode("encode")  # a null becomes one of the values
    return DictionaryColumn(numpy(coded.indices), coded.dictionary.to_pylist())


def _written_numbers(found: pa.Array) -> Cells:
    """Numbers that are written as text: all at once, or, where one is no number, value by value."""
    try:
        values = _array(found)
        if np.isnan(values).sum() == found.null_count:  # Arrow has more words for NaN than Python
            return values
    except pa.ArrowInvalid:
        pass
    repeated = _repeated(found)
    return DictionaryColumn(repeated.index, [number(cell) for cell in repeated.distinct])


def number(cell: object) -> object:
    """The number that a text is; the text itself where it is none, as in ``mlref.data.tables``."""
    if not isinstance(cell, str) or "_" in cell:  # Python reads 1_000 as a number; no file means it
        return cell
    try:
        return float(cell)
    except ValueError:
        return cell


def is_number(column: Column) -> bool:
    """Whether a column holds numbers, also those that stand for categories."""
    return column.allowed is None or not isinstance(column.allowed[0], str)


def numbers(found: Cells) -> pa.Array:
    """The cells of a column of numbers as an Arrow column, null for what is none."""
    if isinstance(found, DictionaryColumn):
        distinct = [cell if isinstance(cell, float) else np.nan for cell in found.distinct]
        found = np.array(distinct, dtype=np.float64)[found.index]
    values = np.asarray(found, dtype=np.float64)
    null, column = np.isnan(values), arrow(values)
    return pc.if_else(arrow(null), None, column) if null.any() else column


def numpy(values: pa.Array) -> NDArray[Any]:
    """An Arrow array of numbers without nulls as a NumPy array, without a copy."""
    return np.from_dlpack(values)


def mask(values: pa.Array) -> Mask:
    """An Arrow array of truths without nulls as a NumPy array."""
    return numpy(pc.cast(values, pa.uint8())).astype(np.bool_)


def arrow(values: NDArray[Any]) -> pa.Array:
    """A NumPy array as an Arrow array, without a copy but for bool."""
    if values.dtype == np.bool_:
        bits = np.packbits(values, bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])
    kind = pa.from_numpy_dtype(values.dtype)
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [None, buffer])


def words(given: Sequence[str]) -> pa.Array:
    """Some strings as an Arrow array."""
    encoded = [word.encode() for word in given]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))
    return pa.StringArray.from_buffers(len(encoded), *buffers)
