"""Parquet that others have written: files, folders of parts, every type of column."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from mlref.core.errors import DataError
from mlref.data.tables import checked

INDEX = re.compile(r"__index_level_\d+__")
"""Name of a column that pandas has written for an index without a name."""

READABLE = (
    *(pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating),
    *(pa.types.is_decimal, pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    *(pa.types.is_date, pa.types.is_timestamp, pa.types.is_time),
)
"""Tests of the types whose values are cells of a table."""


def read_dataset(path: Path, ignored: Sequence[str] = ()) -> pd.DataFrame:
    """Read Parquet that others have written: a file, or a folder of parts with Hive partitions as columns.

    An index of pandas that has a name is a column like others.

    Raises
    ------
    DataError
        For a file that is truncated or not Parquet, and a column whose values are no single cells.
    """
    try:
        found = ds.dataset(path, format="parquet", partitioning="hive")
        names = [it for it in found.schema.names if it not in ignored and not INDEX.fullmatch(it)]
        for name in names:
            kind = found.schema.field(name).type
            cell = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not any(test(cell) for test in READABLE):
                problem = f"the column {name!r} is of type {kind}, which no column here can be"
                remedy = "Name it under `ignore` in the contract, or drop it."
                raise DataError(path, problem, remedy)
        table = found.to_table(columns=names)
        return checked(path, table.to_pandas(ignore_metadata=True, integer_object_nulls=True))
    except (OSError, ValueError, pa.ArrowException) as error:
        problem = str(error).splitlines()[0]
        raise DataError(path, f"is not a complete Parquet file ({problem})") from error
