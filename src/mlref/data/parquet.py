"""Parquet that others have written: files, folders of parts, every type of column."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from mlref.core.errors import DataError
from mlref.data.tables import checked

INDEX = re.compile(r"__index_level_\d+__")
"""Name of a column that pandas has written for an index without a name."""


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
            if not any(test(getattr(kind, "value_type", kind)) for test in _readable(kind)):
                problem = f"the column {name!r} is of type {kind}, which no column here can be"
                raise DataError(
                    path, problem, "Name it under `ignore` in the contract, or drop it."
                )
        table = found.to_table(columns=names)
        return checked(path, table.to_pandas(ignore_metadata=True, integer_object_nulls=True))
    except (OSError, ValueError, pa.ArrowException) as error:
        problem = str(error).splitlines()[0]
        raise DataError(path, f"is not a complete Parquet file ({problem})") from error


def _readable(kind: pa.DataType) -> list[Callable[[pa.DataType], bool]]:
    """Tests of the types whose values are cells of a table; of nested ones only dictionaries have any."""
    if pa.types.is_nested(kind):
        return []
    names = (
        "null boolean integer floating decimal string large_string string_view date timestamp time"
    )
    return [getattr(pa.types, f"is_{name}") for name in names.split()]
