"""Read Parquet, also files of a few kilobytes that unfold to gigabytes."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlref.core.errors import DataError

ROWS = 131_072
"""Most rows of a batch of Parquet, and of a row group of the output."""

BYTES = 48 << 20
"""Most bytes of a batch, as far as a single row does not take more."""

UNFOLDED = 128 << 20
"""Most bytes of a column's chunk that comes from less than a ``RATIO``-th."""

RATIO = 200

DELTA = {"DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"}
"""Encodings that Arrow cannot read into dictionaries."""

VIEWS = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
"""Types that most of Arrow's functions do not take, and what they are read as."""


def fitting(width: float) -> int:
    """How many rows of so many bytes make a batch."""
    return int(max(1, min(ROWS, BYTES // max(width, 1))))


def read_parquet(handle: Any, name: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The columns and the rows.

    Text is read as dictionaries, and unfolded once it is known how many rows fit in a batch.
    """
    metadata = pq.read_metadata(handle)
    handle.seek(0)
    texts, size = [], 0
    for place in range(metadata.num_columns):
        leaf = metadata.schema.column(place)
        chunks = [metadata.row_group(at).column(place) for at in range(metadata.num_row_groups)]
        size += max(8, leaf.length or 0) * sum(chunk.num_values for chunk in chunks)
        for chunk in chunks:
            if chunk.total_uncompressed_size > max(UNFOLDED, RATIO * chunk.total_compressed_size):
                problem = f"the column {leaf.path!r} unfolds to more than {RATIO} times its size"
                raise DataError(name, problem, "Write smaller row groups.")
        if leaf.physical_type == "BYTE_ARRAY" and leaf.converted_type != "DECIMAL":
            if leaf.path != leaf.name:
                problem = f"the column {leaf.path!r} is text in a list, map or struct"
                raise DataError(name, problem, "Drop it, or write it as a column of its own.")
            if not any(DELTA & set(chunk.encodings) for chunk in chunks):
                texts.append(leaf.path)
    file = pq.ParquetFile(
        handle,
        metadata=metadata,
        read_dictionary=texts,
        # Without buffering ahead, a row group of any size is read a page at a time.
        pre_buffer=False,
        buffer_size=min(1 << 20, BYTES // (1 + metadata.num_columns)),
    )
    fields = metadata.schema.to_arrow_schema()
    schema = pa.schema(one.with_type(_plain(one.type)).remove_metadata() for one in fields)

    def batches() -> Iterator[pa.RecordBatch]:
        """Read as many rows at a time as fit."""
        for rows in file.iter_batches(fitting(size / max(metadata.num_rows, 1)), use_threads=False):
            folded = [one.dictionary for one in rows.columns if pa.types.is_dictionary(one.type)]
            some = fitting(sum(pc.max(pc.binary_length(one)).as_py() or 0 for one in folded))
            for start in range(0, rows.num_rows, some):
                yield rows.slice(start, some).cast(schema)

    return schema, batches()


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type as which a column is read."""
    return kind.value_type if pa.types.is_dictionary(kind) else VIEWS.get(kind, kind)
