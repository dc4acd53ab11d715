"""Files are read as tables, or refused as none; records that are no rows are listed."""

import codecs
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlref.batch.files import find
from mlref.batch.read import opened
from mlref.core.errors import DataError, Violation
from tests.code.batch.conftest import write_parquet

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of its own."""
    monkeypatch.chdir(tmp_path)


def content(
    data: bytes, name: str = "in.csv"
) -> tuple[list[dict[str, Any]], list[int], list[Violation]]:
    """Rows of a file, their places, and what is no row."""
    Path(name).write_bytes(data)
    [source] = find(name)
    rows, places = [], []
    with opened(source) as table:
        for batch in table.batches():
            rows += batch.rows.to_pylist()
            places += batch.places.tolist()
        return rows, places, table.ragged


def test_cells_of_csv_are_text_and_an_empty_one_is_null() -> None:
    """Quoted or not."""
    assert content(b'a,b\n1,x\n,""\n007,"1,5"\n')[0] == [
        {"a": "1", "b": "x"}, {"a": None, "b": None}, {"a": "007", "b": "1,5"},
    ]  # fmt: skip


def test_a_byte_order_mark_is_no_part_of_a_name() -> None:
    """Spreadsheets write one."""
    assert content(codecs.BOM_UTF8 + b"a,b\n1,2\n")[0] == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_lines_end_as_they_do_anywhere(ending: bytes) -> None:
    """And the last one need not."""
    assert content(ending.join([b"a,b", b"1,2", b"3,4"]))[0][1] == {"a": "3", "b": "4"}


def test_a_cell_may_hold_lines() -> None:
    """The rows after it keep their places."""
    rows, places, _ = content(b'a,b\n"1\n2",x\n3,y\n')
    assert (rows[0]["a"], places) == ("1\n2", [0, 1])


def test_a_record_of_another_length_is_no_row() -> None:
    """It is listed with its place; the rows around it keep theirs."""
    rows, places, ragged = content(b"a,b\n1,2\n3\n4,5\n6,7,8\n9,9\n")
    assert [row["a"] for row in rows] == ["1", "4", "9"]
    assert places == [0, 2, 4]
    assert [(one.row, one.got, one.allowed) for one in ragged] == [
        (1, "'3'", "2 fields"), (3, "'6,7,8'", "2 fields"),
    ]  # fmt: skip


def test_places_hold_over_many_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """With records left out of each of them."""
    monkeypatch.setattr("mlref.batch.read.BLOCK", 64)
    lines = [f"{place},x" if place % 7 else str(place) for place in range(200)]
    rows, places, ragged = content(("a,b\n" + "\n".join(lines) + "\n").encode())
    assert [int(row["a"]) for row in rows] == places
    assert [one.row for one in ragged] == list(range(0, 200, 7))


UNREADABLE = [
    (b"", "the file is empty"),
    ("a,b\né,1\n".encode("latin-1"), "is not UTF-8 text"),
    ("é,b\n1,1\n".encode("latin-1"), "is not UTF-8 text"),
    ("a,b\n1,2\n".encode("utf-16"), "is not UTF-8 text"),
    (b"a,a\n1,2\n", "the column 'a' is there twice"),
    (b'a,b\n1,2\n3,"4\n5,6\n', "its last record has a quote that is never closed"),
    (b'a,"b\n1,2\n', "is not a table"),
]


@pytest.mark.parametrize(("data", "problem"), UNREADABLE)
def test_what_is_no_csv_table_is_refused(data: bytes, problem: str) -> None:
    """The file is named, and what is wrong with it."""
    with pytest.raises(DataError, match=f"in.csv: {problem}"):
        content(data)


def test_a_late_mistake_is_found_late() -> None:
    """Megabytes after the first row."""
    data = b"a,b\n" + b"1,2\n" * 2_000_000 + "é,1\n".encode("latin-1")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        content(data)


@pytest.mark.parametrize("cut", [0, 3, 100, -1, -8])
def test_a_truncated_parquet_file_is_refused(cut: int) -> None:
    """Wherever it ends."""
    data = write_parquet("whole.parquet").read_bytes()[:cut]
    problem = "is not a complete Parquet file" if data else "the file is empty"
    with pytest.raises(DataError, match=f"in.parquet: {problem}"):
        content(data, "in.parquet")


def test_a_damaged_page_of_a_parquet_file_is_refused() -> None:
    """Its footer is whole, its content is not."""
    data = bytearray(write_parquet("whole.parquet").read_bytes())
    data[4:60] = b"\xff" * 56
    with pytest.raises(DataError, match="in.parquet: is not a complete Parquet file"):
        content(bytes(data), "in.parquet")


def test_columns_can_be_asked_for() -> None:
    """In the order in which they are asked for."""
    Path("in.csv").write_text("a,b,c\n1,2,3\n")
    with opened(find("in.csv")[0]) as table:
        [batch] = table.batches(["c"])
    assert batch.rows.to_pylist() == [{"c": "3"}]


def test_the_share_grows_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """In both formats."""
    monkeypatch.setattr("mlref.batch.read.ROWS", 64)
    write_parquet("in.parquet", [{"a": place} for place in range(500)])
    Path("in.csv").write_text("a\n" + "1\n" * 500)
    for name in "in.parquet", "in.csv":
        with opened(find(name)[0]) as table:
            shares = [batch.share for batch in table.batches()]
        assert shares == sorted(shares)
        assert shares[-1] == pytest.approx(1)


def test_a_file_that_may_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read all, so the system's word is planted."""
    Path("in.csv").write_text("a\n1\n")
    [source] = find("in.csv")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.open", denied)
    with pytest.raises(DataError, match="permission denied"), opened(source):
        pass


def test_places_are_whole_numbers() -> None:
    """Of 64 bits: a file may have more rows than 32 bits can count."""
    Path("in.csv").write_text("a\n1\n")
    with opened(find("in.csv")[0]) as table:
        assert next(table.batches()).places.dtype == np.int64
