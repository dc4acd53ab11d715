"""Read one CSV or Parquet file as Arrow batches, in bounded memory and one thread."""

import codecs
import contextlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from mlref.batch.files import Source, filesystem, reached
from mlref.core.errors import DataError, Violation
from mlref.core.rows import show

ROWS = 131_072
"""Most rows of a batch, and of a row group of the output."""

BYTES = 48 << 20
"""Most bytes of a batch, as far as a single row does not take more."""

CELL = 8
"""Bytes of a number, as it is read and once more as it is encoded."""

UNFOLDED = 128 << 20
"""Most bytes of one cell, and of a column's chunk that comes from less than a ``RATIO``-th."""

RATIO = 200

BLOCK = 8 << 20
"""Bytes of CSV that are parsed at a time; no record may be longer."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

DELTA = {"DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"}
"""Encodings that Arrow cannot read into dictionaries."""

PLAIN = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}

Batches = Iterator[tuple[pa.RecordBatch, float]]
"""Rows, and the share of the file that has been read with them."""


class Batch(NamedTuple):
    """Some rows, the zero-based place of each in the file, and the share of the file read so far."""

    rows: pa.RecordBatch
    places: NDArray[np.int64]
    share: float


class Table:
    """One opened file.

    Attributes
    ----------
    schema : Schema
        Its columns, those of its path included.
    constants : dict
        The cells of the columns that stand in its path, as Arrow scalars.
    text : set of str
        Columns of which each cell is text, also where it stands for a number.
    ragged : list of Violation
        CSV records found so far with too few or too many fields; whoever reads takes them away.
    """

    def __init__(self, source: Source, handle: Any, only: str | None) -> None:
        self.source, self.ragged = source, list[Violation]()
        self._skipped: list[int] = []  # places of all ragged records
        parquet = is_parquet(source)
        schema, self._batches = (self._parquet if parquet else self._csv)(handle, only)
        self.constants = {name: pa.scalar(cell, pa.string()) for name, cell in source.partitions}
        self.schema = pa.schema([*schema, *((name, pa.string()) for name in self.constants)])
        self.text = set(self.constants if parquet else self.schema.names)
        seen = set[str]()
        for name in self.schema.names:
            if name in seen:
                problem = f"the column {name!r} is there twice"
                raise DataError(source.name, problem, "Drop or rename one.")
            seen.add(name)

    def batches(self) -> Iterator[Batch]:
        """Its rows, once; DataError where the file turns out to be broken."""
        start = 0
        while True:
            with _readable(self.source):
                rows, share = next(self._batches, (None, 1.0))
            if rows is None:
                return
            places = np.arange(start, start + rows.num_rows)
            start += rows.num_rows
            # A row stands as much later as records before it were skipped.
            gaps = np.array(self._skipped, np.int64) - np.arange(len(self._skipped))
            places += np.searchsorted(gaps, places, side="right")
            for name, cell in self.constants.items():
                rows = rows.append_column(name, pa.repeat(cell, rows.num_rows))
            yield Batch(rows, places, share)

    def _csv(self, handle: Any, only: str | None) -> tuple[pa.Schema, Batches]:
        """Every cell is text, an empty one is null."""
        _check_dialect(self.source, handle.read(BLOCK))
        handle.seek(0)
        reader = pa.csv.open_csv(
            handle,
            pa.csv.ReadOptions(use_threads=False, block_size=BLOCK),
            pa.csv.ParseOptions(
                newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=self._skip
            ),
            pa.csv.ConvertOptions(
                default_column_type=pa.string(),
                null_values=[""],
                strings_can_be_null=True,
                include_columns=only and [only],
            ),
        )

        def batches() -> Batches:
            rows = None
            for block in reader:
                for start in range(0, block.num_rows, ROWS):
                    rows = block.slice(start, ROWS)
                    yield rows, handle.tell() / max(self.source.size, 1)
            if rows and "\n" in (rows.column(rows.num_columns - 1)[-1].as_py() or ""):
                handle.seek(0)
                if sum(part.count(b'"') for part in iter(lambda: handle.read(BLOCK), b"")) % 2:
                    raise DataError(
                        self.source.name,
                        "its last record has a quote that is never closed",
                        "What follows that quote would be taken for one cell.",
                    )

        return reader.schema, batches()

    def _skip(self, record: pa.csv.InvalidRow) -> str:
        place = record.number - 2  # Arrow counts from 1, and the header too
        fields = f"{record.expected_columns} fields"
        self._skipped.append(place)
        self.ragged.append(Violation(place, None, show(record.text), fields))
        return "skip"

    def _parquet(self, handle: Any, only: str | None) -> tuple[pa.Schema, Batches]:
        """Text stays a dictionary where it is one, until it is known how many rows fit in a batch."""
        metadata = pq.read_metadata(handle)
        schema = pa.schema(
            # Most of Arrow's functions do not take the views of text.
            one.with_type(PLAIN.get(one.type, one.type)).remove_metadata()
            for one in metadata.schema.to_arrow_schema()
        )
        folded, size = [], 0
        for place in range(metadata.num_columns):
            chunks = [metadata.row_group(at).column(place) for at in range(metadata.num_row_groups)]
            leaf = metadata.schema.column(place)
            size += max(CELL, leaf.length or 0) * sum(chunk.num_values for chunk in chunks)
            if any(
                chunk.total_uncompressed_size > max(UNFOLDED, RATIO * chunk.total_compressed_size)
                for chunk in chunks
            ):
                problem = f"the column {leaf.path!r} unfolds to more than {RATIO} times its size"
                raise DataError(self.source.name, problem, "Write smaller row groups.")
            if leaf.physical_type == "BYTE_ARRAY" and leaf.converted_type != "DECIMAL":
                encodings = {encoding for chunk in chunks for encoding in chunk.encodings}
                if not encodings & DELTA:
                    folded.append(leaf.path)
        handle.seek(0)
        file = pq.ParquetFile(
            handle,
            metadata=metadata,
            read_dictionary=folded,
            # Without buffering ahead, a row group of any size is read a page at a time.
            pre_buffer=False,
            buffer_size=max(4096, min(1 << 20, BYTES // max(metadata.num_columns, 1))),
        )
        count = _fitting(size / max(metadata.num_rows, 1))

        def batches() -> Batches:
            done = 0
            for batch in file.iter_batches(count, columns=only and [only], use_threads=False):
                for rows in _unfolded(self.source, batch, schema):
                    done += rows.num_rows
                    yield rows, done / metadata.num_rows

        return schema, batches()


@contextlib.contextmanager
def opened(source: Source, only: str | None = None) -> Iterator[Table]:
    """Open a file, or one column of it, and see at the end that it has not changed meanwhile.

    Raises
    ------
    DataError
        For a file that is missing, empty, truncated, not UTF-8 or no table.
    """
    fs, path = filesystem(source.url)
    with contextlib.ExitStack() as stack:
        with _readable(source):
            before = fs.ukey(path)
            if fs.size(path) == 0:
                raise DataError(source.name, "the file is empty")
            direct = is_parquet(source) and isinstance(fs, LocalFileSystem)
            handle = stack.enter_context(pa.OSFile(path) if direct else fs.open(path, "rb"))
            table = Table(source, handle, only)
        yield table
        with _readable(source):
            if fs.ukey(path) != before:
                raise DataError(source.name, "changed while it was read", "Score it again.")


def is_parquet(source: Source) -> bool:
    """Whether a file is Parquet rather than CSV."""
    return source.url.lower().endswith(".parquet")


@contextlib.contextmanager
def _readable(source: Source) -> Iterator[None]:
    """Put into words what storage and Arrow say of a file that cannot be read."""
    with reached(source.url):
        try:
            yield
        except (UnicodeDecodeError, pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            if isinstance(error, OSError) and (
                type(error) is not OSError or error.errno is not None
            ):
                raise  # the system or the storage has said this, not Arrow
            said = str(error).splitlines()[0]
            if isinstance(error, UnicodeDecodeError) or "UTF8" in said:
                raise _not_utf8(source, "Windows-1252 or Latin-1") from error
            what = "a complete Parquet file" if is_parquet(source) else "a table"
            raise DataError(source.name, f"is not {what} ({said})") from error


def _not_utf8(source: Source, probably: str) -> DataError:
    problem = f"is not UTF-8 text but probably {probably}"
    return DataError(source.name, problem, "Save it as UTF-8 and score it again.")


def _check_dialect(source: Source, head: bytes) -> None:
    """Name the separators and encodings that spreadsheets of other countries write."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _not_utf8(source, "UTF-16")
    header = head.partition(b"\n")[0].decode("utf-8-sig")
    separator = max(SEPARATORS, key=header.count)
    if separator != ",":
        comma = re.search(rb"\d,\d", head) is not None
        raise DataError(
            source.name,
            f"separates columns by {SEPARATORS[separator]}" + " and decimals by a comma" * comma,
            "Separate the columns by commas" + ", decimals by a point" * comma + ".",
        )


def _fitting(width: float) -> int:
    """How many rows of so many bytes make a batch."""
    return int(max(1, min(ROWS, BYTES // max(width, 1))))


def _unfolded(source: Source, rows: pa.RecordBatch, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows with the types of the schema, in as many batches as they need."""
    wanted = pa.schema([schema.field(name) for name in rows.schema.names])
    widths = {name: _longest(rows[name]) for name in rows.schema.names}
    for name, width in widths.items():
        if width > UNFOLDED:
            raise DataError(source.name, f"a row of the column {name!r} has {width:,} bytes")
    count = _fitting(sum(widths.values()))
    for start in range(0, rows.num_rows, count):
        if count < rows.num_rows:  # a slice would share the whole of its lists
            places = np.arange(start, min(start + count, rows.num_rows))
            yield rows.take(pa.array(places)).cast(wanted)
        else:
            yield rows.cast(wanted)


def _longest(cells: pa.Array) -> int:
    """The most bytes that a row may take once its text is no dictionary any more."""
    kind = cells.type
    if pa.types.is_dictionary(kind):
        text = [pa.string(), pa.binary(), pa.large_string(), pa.large_binary()]
        is_text = kind.value_type in text
        return (is_text and pc.max(pc.binary_length(cells.dictionary)).as_py()) or 0
    if pa.types.is_struct(kind):
        return sum(map(_longest, cells.flatten()))
    if pa.types.is_map(kind):
        most = np.diff(cells.offsets).max(initial=0)
        return int(most) * (_longest(cells.keys) + _longest(cells.items))
    if pa.types.is_nested(kind):
        return (pc.max(pc.list_value_length(cells)).as_py() or 0) * _longest(cells.flatten())
    return 0
