"""Parquet as others write it: folders, an index, and every type, read or refused by column and type."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlref.core.errors import DataError
from mlref.data.parquet import read_dataset
from mlref.data.tables import read_csv, write_csv


def cells(table: pa.Table, folder: Path) -> list[str]:
    """The cells of the first column as they stand in data/raw/, none for null."""
    pq.write_table(table, folder / "x.parquet")
    write_csv(folder / "x.csv", read_dataset(folder / "x.parquet"))
    first = read_csv(folder / "x.csv").iloc[:, 0]
    return ["" if pd.isna(cell) else cell for cell in first]


@pytest.mark.parametrize(
    ("kind", "cell", "text"),
    [
        (pa.bool_(), True, "True"),
        (pa.int64(), 2**60 + 1, str(2**60 + 1)),
        (pa.uint8(), 7, "7"),
        (pa.float16(), 0.5, "0.5"),
        (pa.float64(), 0.1 + 0.2, "0.30000000000000004"),
        (pa.decimal128(5, 2), Decimal("1.50"), "1.50"),
        (pa.decimal256(50, 2), Decimal("1.50"), "1.50"),
        (pa.string_view(), "ü", "ü"),
        (pa.large_string(), "a", "a"),
        (pa.dictionary(pa.int8(), pa.string()), "a", "a"),
        (pa.date32(), date(2020, 5, 31), "2020-05-31"),
        (pa.date64(), date(2020, 5, 31), "2020-05-31"),
        (pa.timestamp("s"), datetime(2020, 5, 31, 8), "2020-05-31 08:00:00"),
        (
            pa.timestamp("ns", "UTC"),
            datetime(2020, 5, 31, 8, tzinfo=UTC),
            "2020-05-31 08:00:00+00:00",
        ),
        (pa.time32("s"), time(8), "08:00:00"),
    ],
    ids=str,
)
def test_a_single_value_of_any_type_becomes_a_cell(
    tmp_path: Path, kind: pa.DataType, cell: Any, text: str
) -> None:
    """Whole numbers keep their digits beside a null."""
    if pa.types.is_dictionary(kind):
        column = pa.array([cell, None]).dictionary_encode()
    else:
        column = pa.array([cell, None], kind)
    assert cells(pa.table({"x": column, "y": [1, 2]}), tmp_path) == [text, ""]


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.binary(), pa.large_binary(), pa.binary(4), pa.duration("s"), pa.list_(pa.int8())),
        *(pa.struct([("a", pa.int8())]), pa.map_(pa.string(), pa.int8()), pa.uuid()),
    ],
    ids=str,
)
def test_any_other_type_is_refused_by_column_and_type_unless_it_is_ignored(
    tmp_path: Path, kind: pa.DataType
) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"good": [1, 2], "odd": pa.nulls(2, kind)}), path)
    with pytest.raises(
        DataError, match=r"the column 'odd' is of type .*\n  Name it under `ignore`"
    ):
        read_dataset(path)
    assert list(read_dataset(path, ["odd"])) == ["good"]


def test_an_index_with_a_name_is_a_column_and_one_without_is_none(tmp_path: Path) -> None:
    frame, path = pd.DataFrame({"area": [1.5, 2.5]}, index=[7, 8]), tmp_path / "x.parquet"
    frame.to_parquet(path)
    assert list(read_dataset(path)) == ["area"]
    frame.rename_axis("flat").to_parquet(path)
    assert read_dataset(path).to_dict("list") == {"area": [1.5, 2.5], "flat": [7, 8]}


def test_a_folder_of_parts_is_one_table_and_its_partitions_are_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"area": [1.5, 2.5, 3.5], "year": [2020, 2021, 2021], "city": ["ü", "b", "ü"]}
    )
    frame.to_parquet(tmp_path / "parts", partition_cols=["year", "city"])
    (tmp_path / "parts" / "_SUCCESS").touch()
    found = read_dataset(tmp_path / "parts").sort_values("area")
    assert (
        found[["area", "year", "city"]].astype(object).to_numpy().tolist()
        == frame.to_numpy().tolist()
    )
    (tmp_path / "parts" / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="is not a complete Parquet file"):
        read_dataset(tmp_path / "parts")
