"""Read Parquet, also files of a few kilobytes that unfold to gigabytes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlref.batch.bounds import BYTES, Batch, Batches, fitting
from mlref.core.errors import DataError

CELL = 8
"""Bytes of a number, as it is read and once more as it is encoded."""

UNFOLDED = 128 << 20
"""Most bytes of one cell, and of a column's chunk that comes from less than a ``RATIO``-th."""

RATIO = 200

DELTA = {"DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"}
"""Encodings that Arrow cannot read into dictionaries."""

PLAIN = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
"""Types that most of Arrow's functions do not take, and what they are read as."""


def read(handle: Any, name: str, only: str | None) -> tuple[pa.Schema, Batches]:
    """The columns, and the rows of all of them or of one.

    Text stays a dictionary where it is one, until it is known how many rows fit in a batch.
    """
    metadata = pq.read_metadata(handle)
    handle.seek(0)
    schema = pa.schema(
        one.with_type(PLAIN.get(one.type, one.type)).remove_metadata()
        for one in metadata.schema.to_arrow_schema()
    )
    folded, size = [], 0
    for place in range(metadata.num_columns):
        leaf = metadata.schema.column(place)
        chunks = [metadata.row_group(at).column(place) for at in range(metadata.num_row_groups)]
        size += max(CELL, leaf.length or 0) * sum(chunk.num_values for chunk in chunks)
        for chunk in chunks:
            if chunk.total_uncompressed_size > max(UNFOLDED, RATIO * chunk.total_compressed_size):
                problem = f"the column {leaf.path!r} unfolds to more than {RATIO} times its size"
                raise DataError(name, problem, "Write smaller row groups.")
        is_text = leaf.physical_type == "BYTE_ARRAY" and leaf.converted_type != "DECIMAL"
        if is_text and not any(DELTA & set(chunk.encodings) for chunk in chunks):
            folded.append(leaf.path)
    file = pq.ParquetFile(
        handle,
        metadata=metadata,
        read_dictionary=folded,
        # Without buffering ahead, a row group of any size is read a page at a time.
        pre_buffer=False,
        buffer_size=max(4096, min(1 << 20, BYTES // max(metadata.num_columns, 1))),
    )
    count = fitting(size / max(metadata.num_rows, 1))

    def batches() -> Batches:
        """Read as many rows at a time as fit."""
        start = 0
        for batch in file.iter_batches(count, columns=only and [only], use_threads=False):
            for rows in _unfolded(name, batch, schema):
                yield Batch(rows, np.arange(start, start + rows.num_rows))
                start += rows.num_rows

    return schema, batches()


def _unfolded(name: str, rows: pa.RecordBatch, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows with the types of the schema, in as many batches as they need."""
    schema = pa.schema([schema.field(column) for column in rows.schema.names])
    widths = [_longest(cells) for cells in rows.columns]
    for column, width in zip(schema.names, widths, strict=True):
        if width > UNFOLDED:
            raise DataError(name, f"a row of the column {column!r} has {width:,} bytes")
    count = fitting(sum(widths))
    for start in range(0, rows.num_rows, count):
        if count < rows.num_rows:  # a slice would share the whole of its lists
            places = np.arange(start, min(start + count, rows.num_rows))
            yield rows.take(pa.array(places)).cast(schema)
        else:
            yield rows.cast(schema)


def _longest(cells: pa.Array) -> int:
    """The most bytes that a row may take once its text is no dictionary any more."""
    kind = cells.type
    if pa.types.is_dictionary(kind) and not pa.types.is_primitive(kind.value_type):
        return pc.max(pc.binary_length(cells.dictionary)).as_py() or 0
    if pa.types.is_struct(kind):
        return sum(map(_longest, cells.flatten()))
    if pa.types.is_map(kind):
        most = int(np.diff(cells.offsets).max(initial=0))
        return most * (_longest(cells.keys) + _longest(cells.items))
    if pa.types.is_nested(kind):
        return (pc.max(pc.list_value_length(cells)).as_py() or 0) * _longest(cells.flatten())
    return 0
