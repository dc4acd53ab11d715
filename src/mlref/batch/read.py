"""Read one file of CSV or Parquet as a stream of Arrow batches, in bounded memory and one thread.

A file that is no table is refused as a whole. A CSV record with too few or too many fields is a bad
row like any other: it is left out of the stream and listed.
"""

import contextlib
import csv
import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from mlref.batch.files import Source, filesystem, reached
from mlref.core.errors import DataError, Violation
from mlref.core.rows import show

ROWS = 131_072
"""Most rows of a batch; also those of a row group of the output."""

BLOCK = 4 << 20
"""Bytes of CSV that are parsed at a time; no record may be longer."""


class Batch(NamedTuple):
    """Some rows of a file.

    Parameters
    ----------
    rows : RecordBatch
        At most ``ROWS`` rows.
    places : ndarray of int64
        Zero-based place of each in the file.
    share : float
        How much of the file has been read, between 0 and 1.
    """

    rows: pa.RecordBatch
    places: NDArray[np.int64]
    share: float


class Table:
    """One opened file.

    Attributes
    ----------
    schema : Schema
        Its columns.
    text : bool
        Whether every cell is text, as in CSV.
    ragged : list of Violation
        Records found so far that are no rows; the reader takes them away.
    """

    def __init__(self, source: Source, schema: pa.Schema, text: bool) -> None:
        self.source, self.schema, self.text = source, schema, text
        self.ragged: list[Violation] = []
        for name in schema.names:
            if schema.names.count(name) > 1:
                problem = f"the column {name!r} is there twice"
                raise DataError(source.name, problem, "Drop or rename one.")

    def batches(self, only: list[str] | None = None) -> Iterator[Batch]:
        """Its rows; ``only`` names columns where not all are wanted.

        Raises
        ------
        DataError
            When the file turns out to be broken.
        """
        batches = self._batches(only)
        while True:
            with _readable(self.source):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _batches(self, only: list[str] | None) -> Iterator[Batch]:
        raise NotImplementedError


@contextlib.contextmanager
def opened(source: Source) -> Iterator[Table]:
    """Open a file, and see at the end that it is still the one that was opened.

    Raises
    ------
    DataError
        For a file that is missing, empty, truncated, not UTF-8 or no table, or that changes meanwhile.
    """
    fs, path = filesystem(source.url)
    parquet = path.lower().endswith(".parquet")
    with contextlib.ExitStack() as stack:
        with _readable(source):
            before = fs.ukey(path)
            if fs.size(path) == 0:
                raise DataError(source.name, "the file is empty")
            direct = parquet and isinstance(fs, LocalFileSystem)
            handle = stack.enter_context(pa.OSFile(path) if direct else fs.open(path, "rb"))
            table = _Parquet(source, handle) if parquet else _Csv(source, handle)
        yield table
        with _readable(source):
            if fs.ukey(path) != before:
                raise DataError(source.name, "changed while it was read", "Score it again.")


@contextlib.contextmanager
def _readable(source: Source) -> Iterator[None]:
    """Put into words what storage and Arrow say of a file that cannot be read."""
    with reached(source.url):
        try:
            yield
        except UnicodeDecodeError as error:
            raise _not_utf8(source) from error
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, csv.Error, OSError) as error:
            arrows = type(error) is OSError and error.errno is None  # no system has said this
            if isinstance(error, OSError) and not arrows:
                raise
            said = str(error).splitlines()[0]
            if "UTF8" in said:
                raise _not_utf8(source) from error
            parquet = source.url.lower().endswith(".parquet")
            what = "a complete Parquet file" if parquet else "a table"
            raise DataError(source.name, f"is not {what} ({said})") from error


def _not_utf8(source: Source) -> DataError:
    return DataError(source.name, "is not UTF-8 text", "Save it as UTF-8 and score it again.")


class _Parquet(Table):
    def __init__(self, source: Source, handle: Any) -> None:
        # Without buffering ahead, a row group of any size is read a page at a time.
        self.file = pq.ParquetFile(handle, pre_buffer=False, buffer_size=1 << 20)
        super().__init__(source, self.file.schema_arrow.remove_metadata(), text=False)

    def _batches(self, only: list[str] | None) -> Iterator[Batch]:
        whole, start = max(self.file.metadata.num_rows, 1), 0
        for batch in self.file.iter_batches(ROWS, columns=only, use_threads=False):
            rows = np.arange(start, start + batch.num_rows)
            start += batch.num_rows
            yield Batch(batch, rows, start / whole)


class _Csv(Table):
    def __init__(self, source: Source, handle: Any) -> None:
        self.handle = _Counting(handle)
        lines = io.TextIOWrapper(handle, encoding="utf-8-sig", newline="")
        names = next(csv.reader(lines, strict=True))
        lines.detach()
        super().__init__(source, pa.schema([(name, pa.string()) for name in names]), text=True)

    def _batches(self, only: list[str] | None) -> Iterator[Batch]:
        self.handle.seek(0)
        skipped: list[int] = []  # rows that are not in the stream, by their place in the file

        def note(record: pa.csv.InvalidRow) -> str:
            place = record.number - 2  # Arrow counts from 1, and the header too
            skipped.append(place)
            fields = f"{record.expected_columns} fields"
            self.ragged.append(Violation(place, None, show(record.text), fields))
            return "skip"

        reader = pa.csv.open_csv(
            self.handle,
            pa.csv.ReadOptions(use_threads=False, block_size=BLOCK),
            pa.csv.ParseOptions(
                newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=note
            ),
            pa.csv.ConvertOptions(
                column_types=dict.fromkeys(self.schema.names, pa.string()), null_values=[""],
                strings_can_be_null=True, include_columns=only,
            ),
        )  # fmt: skip
        start, last = 0, ""
        for whole in reader:
            for batch in (whole.slice(at, ROWS) for at in range(0, whole.num_rows, ROWS)):
                rows = np.arange(start, start + batch.num_rows)
                start += batch.num_rows
                if skipped:  # a row stands as much later as records before it were skipped
                    gaps = np.array(skipped) - np.arange(len(skipped))
                    rows += np.searchsorted(gaps, rows, side="right")
                last = batch.column(batch.num_columns - 1)[-1].as_py() or ""
                yield Batch(batch, rows, self.handle.read_so_far / max(self.source.size, 1))
        if self.handle.quotes % 2 and "\n" in last:
            raise DataError(
                self.source.name, "its last record has a quote that is never closed",
                "What follows that quote would be taken for one cell.",
            )  # fmt: skip


class _Counting(io.RawIOBase):
    """A file that counts what is read from it: bytes, and quotes."""

    def __init__(self, file: Any) -> None:
        self.file, self.read_so_far, self.quotes = file, 0, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self.read_so_far = self.quotes = 0
        return int(self.file.seek(offset, whence))

    def read(self, size: int = -1) -> bytes:
        content = bytes(self.file.read(size))
        self.read_so_far += len(content)
        self.quotes += content.count(b'"')
        return content

    def readable(self) -> bool:
        return True
