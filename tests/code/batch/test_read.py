"""Files are read as tables, or refused with what is wrong; records that are no rows are listed."""

import codecs
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlref.batch.bounds import BYTES
from mlref.batch.files import find
from mlref.batch.read import opened
from mlref.core.errors import DataError, Violation
from tests.code.batch.conftest import write_parquet

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def content(
    data: bytes, name: str = "in.csv"
) -> tuple[list[dict[str, Any]], list[int], list[Violation]]:
    """Rows of a file, their places, and the records that are no rows."""
    Path(name).write_bytes(data)
    [source] = find(name)
    rows, places, ragged = list[dict[str, Any]](), list[int](), list[Violation]()
    with opened(source) as table:
        for batch in table.batches:
            rows += batch.rows.to_pylist()
            places += batch.places.tolist()
            ragged += batch.ragged
    return rows, places, ragged


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b'a,b\n1,x\n,""\n', [{"a": "1", "b": "x"}, {"a": None, "b": None}]),
        (b'a,b\n007,"1,5"\n', [{"a": "007", "b": "1,5"}]),
        (codecs.BOM_UTF8 + b"a,b\n1,2", [{"a": "1", "b": "2"}]),
        (b"a,b\r\n1,2\r\n3,4\r\n", [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]),
        (b'a,b\n"1\n2",x\n3,"y\nz"\n', [{"a": "1\n2", "b": "x"}, {"a": "3", "b": "y\nz"}]),
        (b"a,b\n", []),
    ],
)
def test_cells_of_csv_are_text_and_an_empty_one_is_null(
    data: bytes, rows: list[dict[str, Any]]
) -> None:
    assert content(data) == (rows, list(range(len(rows))), [])


def test_a_record_of_another_length_is_listed_and_the_rows_around_it_keep_their_places() -> None:
    rows, places, ragged = content(b"a,b\n1,2\n3\n4,5\n6,7,8\n9,9\n")
    assert [row["a"] for row in rows] == ["1", "4", "9"]
    assert places == [0, 2, 4]
    assert [(one.row, one.got, one.allowed) for one in ragged] == [
        (1, "'3'", "2 fields"), (3, "'6,7,8'", "2 fields"),
    ]  # fmt: skip


def test_places_hold_over_many_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlref.batch.read_csv.BLOCK", 64)
    lines = [f"{place},x" if place % 7 else str(place) for place in range(200)]
    rows, places, ragged = content(("a,b\n" + "\n".join(lines) + "\n").encode())
    assert [int(row["a"]) for row in rows] == places
    assert [one.row for one in ragged] == list(range(0, 200, 7))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "the file is empty"),
        ("a,b\né,1\n".encode("latin-1"), "is not UTF-8 text but probably Windows-1252"),
        ("é,b\n1,1\n".encode("latin-1"), "is not UTF-8 text but probably Windows-1252"),
        (b"a,b\n" + b"1,2\n" * 2_000_000 + b"\xe9,1\n", "is not UTF-8 text"),
        ("a,b\n1,2\n".encode("utf-16"), "is not UTF-8 text but probably UTF-16"),
        (b"a;b\n1;2\n", r"separates columns by semicolons\n  Separate the columns by commas\."),
        (b"a;b\n1,5;2\n", "separates columns by semicolons and decimals by a comma"),
        (b"a\tb\n1\t2\n", "separates columns by tabs"),
        (b"a|b\n1|2\n", "separates columns by bars"),
        (b"a,a\n1,2\n", "the column 'a' is there twice"),
        (b'a,b\n1,2\n3,"4\n5,6\n', "its last record has a quote that is never closed"),
        (b'a,"b\n1,2\n', "is not a table"),
    ],
)
def test_a_file_that_is_no_csv_table_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(DataError, match=f"in.csv: {problem}"):
        content(data)


@pytest.mark.parametrize("cut", [0, 3, 100, -1, -8])
def test_a_truncated_parquet_file_is_refused(cut: int) -> None:
    data = write_parquet("whole.parquet").read_bytes()[:cut]
    problem = "is not a complete Parquet file" if data else "the file is empty"
    with pytest.raises(DataError, match=f"in.parquet: {problem}"):
        content(data, "in.parquet")


def test_a_damaged_page_of_a_parquet_file_is_refused() -> None:
    data = bytearray(write_parquet("whole.parquet").read_bytes())
    data[4:60] = b"\xff" * 56
    with pytest.raises(DataError, match="in.parquet: is not a complete Parquet file"):
        content(bytes(data), "in.parquet")


def test_a_file_that_may_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("in.csv").write_text("a\n1\n")
    [source] = find("in.csv")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")  # root may read all

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.size", denied)
    with pytest.raises(DataError, match="permission denied"), opened(source):
        pass


def folded(cell: Any, count: int) -> pa.Array:
    """A column of equal cells, which takes next to no memory."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([cell]))


def test_text_that_unfolds_to_gigabytes_comes_in_batches_that_fit() -> None:
    table = pa.table({"s": folded("x" * 100_000, 20_000), "t": folded(b"y", 20_000)})
    pq.write_table(table, "in.parquet", compression="zstd", store_schema=False)
    assert Path("in.parquet").stat().st_size < 50_000
    with opened(find("in.parquet")[0]) as table:
        assert table.schema.types == [pa.string(), pa.binary()]
        batches = [
            (batch.rows.num_rows, batch.rows.nbytes, batch.rows.schema) for batch in table.batches
        ]
    assert sum(rows for rows, _, _ in batches) == 20_000
    assert max(size for _, size, _ in batches) < 1.1 * BYTES
    assert {schema for _, _, schema in batches} == {table.schema}


def test_a_cell_that_no_batch_can_hold_is_refused_by_its_column(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlref.batch.read_parquet.UNFOLDED", 1000)
    pq.write_table(pa.table({"s": folded("x" * 1001, 9)}), "in.parquet", store_schema=False)
    with pytest.raises(DataError, match="a row of the column 's' has 1,001 bytes"):
        content(Path("in.parquet").read_bytes(), "in.parquet")


def test_a_page_that_unfolds_to_gigabytes_is_refused_by_its_column(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlref.batch.read_parquet.UNFOLDED", 1_000_000)
    table = pa.table({"a": np.zeros(1_000_000)})
    pq.write_table(table, "in.parquet", compression="zstd", use_dictionary=False)
    with pytest.raises(DataError, match=r"the column 'a' unfolds"):
        content(Path("in.parquet").read_bytes(), "in.parquet")


def test_rows_of_many_columns_come_in_batches_that_fit() -> None:
    wide = {f"c{place}": np.zeros(1_500) for place in range(5_000)}
    pq.write_table(pa.table(wide), "in.parquet")
    with opened(find("in.parquet")[0]) as table:
        assert max(batch.rows.num_rows for batch in table.batches) <= BYTES / 5_000 / 8


def test_wide_cells_of_one_length_come_in_batches_that_fit() -> None:
    cells = pa.array([b"x" * 100_000], pa.binary(100_000)).take(pa.array(np.zeros(700, int)))
    pq.write_table(pa.table({"b": cells}), "in.parquet", compression="zstd")
    with opened(find("in.parquet")[0]) as table:
        assert max(batch.rows.nbytes for batch in table.batches) <= 1.1 * BYTES


def test_text_inside_lists_comes_in_batches_that_fit() -> None:
    lists = pa.ListArray.from_arrays(
        pa.array(range(0, 20_001, 2), pa.int32()), folded("x" * 10_000, 20_000)
    )
    pq.write_table(pa.table({"l": lists}), "in.parquet", store_schema=False)
    with opened(find("in.parquet")[0]) as table:
        assert table.schema.types == [pa.list_(pa.field("element", pa.string()))]
        assert max(batch.rows.nbytes for batch in table.batches) <= 1.1 * BYTES


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_text_in_delta_encodings_is_read(encoding: str) -> None:
    table = pa.table({"s": ["one", "one and two"]})
    pq.write_table(table, "in.parquet", use_dictionary=False, column_encoding={"s": encoding})
    assert content(Path("in.parquet").read_bytes(), "in.parquet")[0] == table.to_pylist()
