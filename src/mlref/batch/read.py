"""Read one file as Arrow batches, in bounded memory and one thread."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds
from fsspec.implementations.local import LocalFileSystem

from mlref.batch import read_csv, read_parquet
from mlref.batch.bounds import Batches
from mlref.batch.files import Source, reached
from mlref.core.errors import DataError


class Table(NamedTuple):
    """One opened file.

    Parameters
    ----------
    schema : Schema
        Its columns, and after them those of its path.
    text : frozenset of str
        Columns of which each cell is text, also where it stands for a number.
    constants : dict
        The columns of its path, each with its cell as an Arrow scalar.
    batches : iterator of Batch
        Its rows, once; DataError where the file turns out to be broken or has changed.
    """

    schema: pa.Schema
    text: frozenset[str]
    constants: dict[str, pa.Scalar]
    batches: Batches


@contextlib.contextmanager
def opened(source: Source, only: str | None = None) -> Iterator[Table]:
    """Open a file, or one column of it.

    Raises
    ------
    DataError
        For a file that is missing, empty, truncated, not UTF-8 or no table.
    """
    with contextlib.ExitStack() as stack:
        with reached(source.url, source.name) as (fs, path):
            version = fs.ukey(path)
            if fs.size(path) == 0:
                raise DataError(source.name, "the file is empty")
            is_local = isinstance(fs, LocalFileSystem)
            handle = stack.enter_context(pa.OSFile(path) if is_local else fs.open(path, "rb"))
            reader = read_parquet if source.is_parquet else read_csv
            schema, batches = reader.read(handle, source.name, only)
        constants = _constants(source.name)
        schema = pa.schema([*schema, *((name, pa.string()) for name in constants)])
        name, count = max(Counter(schema.names).items(), key=lambda one: one[1], default=("", 1))
        if count > 1:
            raise DataError(
                source.name, f"the column {name!r} is there twice", "Drop or rename one."
            )
        text = frozenset(constants if source.is_parquet else schema.names)
        yield Table(schema, text, constants, _checked(source, version, batches, constants))


def _checked(
    source: Source, version: Any, batches: Batches, constants: dict[str, pa.Scalar]
) -> Batches:
    """The batches with the columns of the path; at the end the file must be what it was."""
    with reached(source.url, source.name) as (fs, path):
        for batch in batches:
            rows = batch.rows
            for name, cell in constants.items():
                rows = rows.append_column(name, pa.repeat(cell, rows.num_rows))
            yield batch._replace(rows=rows)
        if fs.ukey(path) != version:
            raise DataError(source.name, "changed while it was read", "Score it again.")


def _constants(name: str) -> dict[str, pa.Scalar]:
    """The columns in a path such as ``year=2026/month=1/a.csv``, with their cells as text."""
    folder = PurePosixPath(name).parent
    names = dict.fromkeys(step.partition("=")[0] for step in folder.parts if "=" in step)
    hive = ds.HivePartitioning(pa.schema([(name, pa.string()) for name in names]))
    cells = ds.get_partition_keys(hive.parse(f"{folder}/"))
    return {name: pa.scalar(cells.get(name), pa.string()) for name in names}
