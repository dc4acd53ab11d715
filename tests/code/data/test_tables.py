"""Files become tables without guessing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlref.core.errors import DataError, RowsRefused
from mlref.data.tables import decode, encode, read_csv, read_parquet, write_csv, write_parquet
from tests.fakes import CONTRACT

AREA, ROOMS, HEATING, BALCONY = CONTRACT.features
DIGITS = HEATING.model_copy(update={"name": "digits", "allowed": ("1", "2")})
CODED = HEATING.model_copy(update={"name": "coded", "allowed": (1, 2)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test's file goes."""
    return tmp_path / "x.csv"


@pytest.mark.parametrize(
    ("content", "cells"),
    [
        (
            b'a,b,c\n007,True,NA\n1e3,,"x, y"\n',
            {"a": ["007", "1e3"], "b": ["True", None], "c": ["NA", "x, y"]},
        ),
        ("a,b\n1,m²\n".encode("utf-8-sig"), {"a": ["1"], "b": ["m²"]}),
        (b"a,b\r\n1,2\r\n\r\n3,4\r\n", {"a": ["1", None, "3"], "b": ["2", None, "4"]}),
        (b"a,b\n1,2\n,\n\n,\n", {"a": ["1"], "b": ["2"]}),
        (b'a,b\n1,"x\ny\nz\nw"\n', {"a": ["1"], "b": ["x\ny\nz\nw"]}),
        (b"a,b\n1," + b"x" * 200_000, {"a": ["1"], "b": ["x" * 200_000]}),
    ],
    ids=["nothing guessed", "byte order mark", "blank line", "empty at the end", "lines", "long"],
)
def test_cells_of_csv_stay_text_and_an_empty_cell_is_null(
    path: Path, content: bytes, cells: dict[str, list[str | None]]
) -> None:
    """A blank line is a row: else the rows after it would be named by wrong line numbers."""
    path.write_bytes(content)
    frame = read_csv(path)
    assert frame.where(frame.notna(), None).to_dict("list") == cells


LONG = b"a,b\n" + b"1,2\n" * 100_000 + "3,é\n".encode("latin-1")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"\n", "the file is empty"),
        (b"a,b", "the file has a header and no rows"),
        (b"a,b,a\n1,2,3\n", "the column 'a' is there twice\n  Drop or rename one."),
        (b"a,b\n1,2\n1,2,3\n", "is not a table (Expected 2 fields in line 3, saw 3)"),
        (b"a,b,c\n1,2\n", "is not a table (Expected 3 fields in line 2, saw 2)"),
        (
            b'a,b\n1,"2\n',
            "is not a table (unexpected end of data)\n  Look at line 2, where this record",
        ),
        (
            b'a,b\n1,2\n3,"4\n' + b"5,6\n" * 999 + b'7,8"\n9,0\n',
            "is not a table (a quote of line 3 is closed in line 1003)\n  Look at line 3, where",
        ),
        (
            b'a,b\n3,"4\n' + b"5,6\n" * 999 + b'7,"8\n9,0\n',
            "is not a table (',' expected after '\"')\n  Look at line 2, where this record begins, for a",
        ),
        (
            b"a;b\n1,5;2\n",
            "separates its columns by semicolons, not by commas\n  Say so in the contract's"
            " source: `separator: ';'`",
        ),
        (b"a,\n1,2\n", "column 2 has no name"),
        ("a,°\n1,2\n".encode("latin-1"), "line 1 is not UTF-8 text (invalid start byte)"),
        ("a,b\n1,2\n".encode("utf-16"), "line 1 is not UTF-8 text"),
        (LONG, "line 100002 is not UTF-8"),
    ],
    ids=lambda given: str(given)[:30],
)
def test_a_csv_file_that_is_no_table_is_refused(path: Path, content: bytes, problem: str) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError) as refusal:
        read_csv(path)
    assert str(refusal.value).startswith(f"{path}: {problem}")


def test_files_are_written_and_read_without_loss(path: Path) -> None:
    frame = pd.DataFrame({"a": [0.1 + 0.2, 1e-300], "b": ["x", None], "c": [1, 2]})
    write_csv(path, frame)
    column = AREA.model_copy(update={"name": "a"})
    assert decode(read_csv(path), [column])["a"].tolist() == [0.1 + 0.2, 1e-300]
    assert path.read_bytes().endswith(b"1e-300,,2\n")
    write_parquet(path, frame)
    pd.testing.assert_frame_equal(read_parquet(path), frame)


def test_a_parquet_file_that_is_none_is_refused(path: Path) -> None:
    """Wherever it was cut; a CSV file by the wrong name; one without rows."""
    write_parquet(path, pd.DataFrame({"a": [1.0, 2.0]}))
    whole = path.read_bytes()
    for content in (b"", whole[:200], whole[:-1], b"a,b\n1,2\n" * 10):
        path.write_bytes(content)
        with pytest.raises(DataError, match="x.csv: is not a complete Parquet file"):
            read_parquet(path)
    write_parquet(path, pd.DataFrame({"a": pd.Series([], dtype=float)}))
    with pytest.raises(DataError, match="a header and no rows"):
        read_parquet(path)


@pytest.mark.parametrize("read", [read_csv, read_parquet])
def test_a_missing_file_is_named_and_a_folder_is_no_table(
    path: Path, read: Callable[[Path], pd.DataFrame]
) -> None:
    with pytest.raises(DataError, match=r"x\.csv: there is no such file"):
        read(path)
    with pytest.raises(DataError):
        read(path.parent)


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["21.5", " 3 ", "1e3", "inf", None, pd.NA, 7, np.float32(0.5)],
         [21.5, 3, 1000, np.inf, np.nan, np.nan, 7, 0.5]),
        (pd.array([1, None], dtype="Int64"), [1, np.nan]),
        (np.array([1, 2], dtype=np.uint8), [1, 2]),
    ],
    ids=["text", "nullable", "bytes"],
)  # fmt: skip
def test_a_column_of_numbers_becomes_float64(cells: object, numbers: list[float]) -> None:
    """As it comes from any kind of file or database; decoding twice is decoding once."""
    decoded = decode(pd.DataFrame({"balcony": cells}), [BALCONY])
    assert decoded["balcony"].dtype == np.float64
    np.testing.assert_equal(decoded["balcony"].to_numpy(), numbers)
    pd.testing.assert_frame_equal(decode(decoded, [BALCONY]), decoded)


@pytest.mark.parametrize("cell", ["tall", "", "1_000", "1,5", "0x10", True, np.True_, 10**400, [1]])
def test_a_cell_that_is_no_number_keeps_what_it_holds(cell: object) -> None:
    """So that a refusal can show it; the numbers beside it are decoded all the same."""
    frame = pd.DataFrame({"area": pd.Series([cell, "2"], dtype=object)})
    assert decode(frame, [AREA])["area"].tolist() == [cell, 2.0]


def test_decoding_changes_a_copy_and_only_the_named_columns_that_hold_numbers() -> None:
    """A category of words stays text also where they look like numbers."""
    frame = pd.DataFrame({
        "area": ["1", "2"], "flat": ["7", "8"], "digits": ["1", "2"], "coded": ["1", "2.0"],
    })  # fmt: skip
    decoded = decode(frame, [AREA, ROOMS, DIGITS, CODED])
    assert frame["area"].tolist() == ["1", "2"]
    assert decoded.to_dict("list") == {
        "area": [1.0, 2.0], "flat": ["7", "8"], "digits": ["1", "2"], "coded": [1.0, 2.0],
    }  # fmt: skip


def test_a_frame_is_encoded_in_contract_order() -> None:
    frame = pd.DataFrame({
        "flat": ["a", "b"], "rent": [900.0, 400.0], "balcony": [4.0, np.nan],
        "heating": ["oil", "gas"], "rooms": [3.0, 1.0], "area": [70.5, 20.0],
    })  # fmt: skip
    features, target = encode(CONTRACT, frame)
    np.testing.assert_equal(features, [[70.5, 3, 1, 4], [20, 1, 0, np.nan]])
    assert target.tolist() == [900, 400]
    assert features.flags.c_contiguous
    with pytest.raises(RowsRefused, match="row 0, column 'area': got 2000"):
        encode(CONTRACT, frame.assign(area=2000.0))
