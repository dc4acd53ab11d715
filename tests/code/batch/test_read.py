"""Files are read as tables, or refused with what is wrong; records that are no rows are listed."""

import codecs
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlref.batch.parquet import BYTES
from mlref.batch.read import opened
from mlref.core.errors import DataError
from tests.code.batch.conftest import job, write_parquet

pytestmark = pytest.mark.usefixtures("project")

Content = tuple[list[dict[str, Any]], list[int], list[tuple[int | None, str, str]]]


def content(data: bytes, name: str = "in.csv") -> Content:
    """Rows of a file, their places, and the records that are no rows."""
    Path(name).write_bytes(data)
    rows, places = list[dict[str, Any]](), list[int]()
    with opened(job(name)) as table:
        for batch, at in table.batches:
            rows += batch.to_pylist()
            places += at.tolist()
    return rows, places, [(one.row, one.got, one.allowed) for one in table.ragged]


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


def test_a_record_of_another_length_is_listed_and_rows_keep_their_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlref.batch.read.BLOCK", 64)
    lines = [f"{place},x" if place % 7 else str(place) for place in range(200)]
    rows, places, ragged = content(("a,b\n" + "\n".join(lines) + "\n").encode())
    assert [int(row["a"]) for row in rows] == places
    assert ragged == [(row, f"'{row}'", "2 fields") for row in range(0, 200, 7)]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", r"is not a complete table \(Empty CSV file\)"),
        ("a,b\né,1\n".encode("latin-1"), "is not UTF-8 text but probably Windows-1252"),
        ("é,b\n1,1\n".encode("latin-1"), "is not UTF-8 text but probably Windows-1252"),
        pytest.param(b"a,b\n" + b"1,2\n" * 99 + b"\xe9,2\n", "is not UTF-8", id="late"),
        ("a,b\n1,2\n".encode("utf-16"), "is not UTF-8 text but probably UTF-16"),
        (b"a;b\n1;2\n", r"separates columns by semicolons\n  Separate columns by commas"),
        (b"a;b\n1,5;2\n", "separates columns by semicolons and decimals by a comma"),
        (b"a\tb\n1\t2\n", "separates columns by tabs"),
        (b"a|b\n1|2\n", "separates columns by bars"),
        (b'a,"b\n1,2\n', "is not a complete table"),
        (b'a,b\n1,2\n3,"4\n5,6\n', "its last record has a quote that is never closed"),
    ],
)
def test_a_file_that_is_no_csv_table_is_refused(
    data: bytes, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlref.batch.read.BLOCK", 64)
    with pytest.raises(DataError, match=f"in.csv: {problem}"):
        content(data)


@pytest.mark.parametrize("cut", [0, 3, 100, -1, -8, None])
def test_a_broken_parquet_file_is_refused(cut: int | None) -> None:
    data = bytearray(write_parquet("whole.parquet").read_bytes()[:cut])
    if cut is None:  # a page is damaged
        data[4:60] = b"\xff" * 56
    with pytest.raises(DataError, match="in.parquet: is not a complete table"):
        content(bytes(data), "in.parquet")


def folded(cell: Any, count: int) -> pa.Array:
    """A column of equal cells, which takes next to no memory."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([cell]))


LARGE = {
    "text that unfolds": pa.table({"s": folded("x" * 100_000, 2_000), "t": folded(b"y", 2_000)}),
    "many columns": pa.table({f"c{place}": np.zeros(3_000) for place in range(2_500)}),
    "wide cells": pa.table(
        {"b": pa.array([b"x" * 100_000], pa.binary(100_000)).take(pa.array([0] * 700))}
    ),
}


@pytest.mark.parametrize("table", LARGE.values(), ids=LARGE)
def test_a_small_file_of_many_bytes_comes_in_batches_that_fit(table: pa.Table) -> None:
    pq.write_table(table, "in.parquet", compression="zstd", store_schema=False)
    with opened(job("in.parquet")) as found:
        sizes = [(batch.num_rows, batch.nbytes, batch.schema) for batch, _ in found.batches]
    assert len(sizes) > 1
    assert sum(rows for rows, _, _ in sizes) == table.num_rows
    assert max(size for _, size, _ in sizes) < 1.1 * BYTES
    assert {schema for _, _, schema in sizes} == {found.schema}


BOMBS = {
    "unfolds to more than 200 times": pa.table({"a": np.zeros(1_000_000)}),
    "is text in a list, map or struct": pa.table({"a": [["x"]]}),
}


@pytest.mark.parametrize(("problem", "table"), BOMBS.items(), ids=BOMBS)
def test_a_column_that_cannot_be_bounded_is_refused(
    problem: str, table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlref.batch.parquet.UNFOLDED", 1_000_000)
    pq.write_table(table, "in.parquet", compression="zstd", use_dictionary=False)
    with pytest.raises(DataError, match=f"in.parquet: the column 'a.*' {problem}"):
        content(Path("in.parquet").read_bytes(), "in.parquet")


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_text_in_delta_encodings_is_read(encoding: str) -> None:
    table = pa.table({"s": ["one", "one and two"]})
    pq.write_table(table, "in.parquet", use_dictionary=False, column_encoding={"s": encoding})
    assert content(Path("in.parquet").read_bytes(), "in.parquet")[0] == table.to_pylist()


def test_a_file_that_changes_while_it_is_read_is_refused() -> None:
    path = Path("in.csv")
    path.write_text("a\n1\n")
    with opened(job(path)) as table:
        path.write_text("a\n1\n2\n")
        with pytest.raises(DataError, match="in.csv: changed while it was read"):
            list(table.batches)
