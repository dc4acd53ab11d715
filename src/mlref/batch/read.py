"""Read one file as Arrow batches, in bounded memory and one thread.

Every cell of CSV is text, an empty one is null.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from mlref.batch.files import Job, reached
from mlref.batch.parquet import read_parquet
from mlref.core.errors import DataError, Violation
from mlref.core.rows import show

BLOCK = 4 << 20
"""Bytes of CSV that are parsed at a time; no record may be longer."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

Places = NDArray[np.int64]


class Table(NamedTuple):
    """One opened file.

    Parameters
    ----------
    schema : Schema
        Its columns, and after them those of its path, such as ``year=2026/month=1/a.csv``.
    batches : iterator of RecordBatch and ndarray of int
        Its rows, once, with the zero-based place of each in the file; DataError where it turns out to be
        broken or has changed.
    ragged : list of Violation
        Records that are no rows; complete when the batches are.
    """

    schema: pa.Schema
    batches: Iterator[tuple[pa.RecordBatch, Places]]
    ragged: list[Violation]


@contextlib.contextmanager
def opened(job: Job) -> Iterator[Table]:
    """Open the input of a job.

    Raises
    ------
    DataError
        For a file that is missing, empty, truncated, not UTF-8 or no table.
    """
    ragged = list[Violation]()
    with reached(job.url, job.name) as (fs, path):
        version = fs.ukey(path)
        handle = pa.OSFile(path) if isinstance(fs, LocalFileSystem) else fs.open(path, "rb")
        if job.url.lower().endswith(".parquet"):
            schema, found = read_parquet(handle, job.name)
        else:
            schema, found = _read_csv(handle, job.name, ragged)
    folders = job.name.split("/")[:-1]
    names = dict.fromkeys(step.partition("=")[0] for step in folders if "=" in step)
    hive = pa.schema([(name, pa.string()) for name in names])
    cells = ds.get_partition_keys(ds.HivePartitioning(hive).parse("/".join([*folders, ""])))

    def batches() -> Iterator[tuple[pa.RecordBatch, Places]]:
        """Add the columns of the path, and the places."""
        start = 0
        with reached(job.url, job.name):
            for rows in found:
                for name in names:
                    cell = pa.scalar(cells.get(name), pa.string())
                    rows = rows.append_column(name, pa.repeat(cell, rows.num_rows))
                # A row stands as much later as records before it were skipped. Arrow parses ahead.
                places = np.arange(start, start + rows.num_rows)
                start += rows.num_rows
                gaps = [(one.row or 0) - place for place, one in enumerate(ragged)]
                yield rows, places + np.searchsorted(gaps, places, side="right")
            if fs.ukey(path) != version:
                raise DataError(job.name, "changed while it was read", "Score it again.")

    with handle:
        yield Table(pa.schema([*schema, *hive]), batches(), ragged)


def _read_csv(
    handle: Any, name: str, ragged: list[Violation]
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The columns and the rows; ``ragged`` gets the records with too few or too many fields."""
    _check_separator(name, handle.read(BLOCK))
    handle.seek(0)

    def skip(record: pa.csv.InvalidRow) -> str:
        """Note a record that is no row."""
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
            default_column_type=pa.string(), null_values=[""], strings_can_be_null=True
        ),
    )
    return reader.schema, _closed(reader, handle, name)


def _closed(reader: Any, handle: Any, name: str) -> Iterator[pa.RecordBatch]:
    """Read to the end, which may not stand inside of a quote: no row after it would be seen."""
    rows = None
    for rows in reader:
        yield rows
    if rows and "\n" in str(rows.column(rows.num_columns - 1)[-1]):
        handle.seek(0)
        if sum(block.count(b'"') for block in iter(lambda: handle.read(BLOCK), b"")) % 2:
            raise DataError(name, "its last record has a quote that is never closed")


def _check_separator(name: str, head: bytes) -> None:
    """Name the separators that spreadsheets of other countries write."""
    header = head.partition(b"\n")[0].decode("utf-8-sig")
    separator = max(SEPARATORS, key=header.count)
    if separator != ",":
        decimals = " and decimals by a comma" if re.search(rb"\d,\d", head) else ""
        problem = f"separates columns by {SEPARATORS[separator]}{decimals}"
        raise DataError(name, problem, "Separate columns by commas, decimals by a point.")
