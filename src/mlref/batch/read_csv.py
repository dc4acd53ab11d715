"""Read CSV: every cell is text, an empty one is null."""

import codecs
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from mlref.batch import bounds
from mlref.batch.bounds import Batch, Batches
from mlref.batch.files import not_utf8
from mlref.core.errors import DataError, Violation
from mlref.core.rows import show

BLOCK = 8 << 20
"""Bytes that are parsed at a time; no record may be longer."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def read(handle: Any, name: str, only: str | None) -> tuple[pa.Schema, Batches]:
    """The columns, and the rows of all of them or of one."""
    _check_dialect(name, handle.read(BLOCK))
    handle.seek(0)
    ragged: list[Violation] = []

    def skip(record: pa.csv.InvalidRow) -> str:
        """Note a record with too few or too many fields."""
        place = record.number - 2  # Arrow counts from 1, and the header too
        fields = f"{record.expected_columns} fields"
        ragged.append(Violation(place, None, show(record.text), fields))
        return "skip"

    reader = pa.csv.open_csv(
        handle,
        pa.csv.ReadOptions(use_threads=False, block_size=BLOCK),
        pa.csv.ParseOptions(
            newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=skip
        ),
        pa.csv.ConvertOptions(
            default_column_type=pa.string(),
            null_values=[""],
            strings_can_be_null=True,
            include_columns=only and [only],
        ),
    )

    def batches() -> Batches:
        """Read block by block."""
        start = skipped = 0
        rows = pa.RecordBatch.from_pylist([], reader.schema)
        for block in reader:
            for first in range(0, block.num_rows, bounds.ROWS):
                rows = block.slice(first, bounds.ROWS)
                # A row stands as much later as records before it were skipped. Arrow parses ahead.
                ahead = np.array([one.row for one in ragged], np.int64)
                gaps = ahead - np.arange(skipped, skipped + len(ahead))
                places = np.arange(start, start + rows.num_rows)
                places += skipped + np.searchsorted(gaps, places, side="right")
                before = int(np.searchsorted(ahead, places[-1]))
                yield Batch(rows, places, ragged[:before])
                del ragged[:before]
                start, skipped = start + rows.num_rows, skipped + before
        yield Batch(rows.slice(0, 0), np.empty(0, np.int64), ragged)
        if rows and "\n" in (rows.column(rows.num_columns - 1)[-1].as_py() or ""):
            handle.seek(0)
            if sum(part.count(b'"') for part in iter(lambda: handle.read(BLOCK), b"")) % 2:
                raise DataError(
                    name,
                    "its last record has a quote that is never closed",
                    "What follows that quote would be taken for one cell.",
                )

    return reader.schema, batches()


def _check_dialect(name: str, head: bytes) -> None:
    """Name the separators and encodings that spreadsheets of other countries write."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise not_utf8(name, "UTF-16")
    header = head.partition(b"\n")[0].decode("utf-8-sig")
    separator = max(SEPARATORS, key=header.count)
    if separator != ",":
        comma = re.search(rb"\d,\d", head) is not None
        raise DataError(
            name,
            f"separates columns by {SEPARATORS[separator]}" + " and decimals by a comma" * comma,
            "Separate the columns by commas" + ", decimals by a point" * comma + ".",
        )
