"""Files become tables without guessing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlref.core.errors import DataError, RowsRefused
from mlref.data.tables import decode, encode, read_csv, read_parquet, write_csv, write_parquet
from tests.fakes import CONTRACT

AREA, ROOMS, HEATING, BALCONY = CONTRACT.features


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test's CSV file goes."""
    return tmp_path / "x.csv"


def test_cells_of_csv_stay_text_and_an_empty_cell_is_null(path: Path) -> None:
    """Nothing is guessed: not a number, not a boolean, not the word NA."""
    path.write_text('a,b,c\n007,True,NA\n1e3,,"x, y"\n')
    expected = {"a": ["007", "1e3"], "b": ["True", None], "c": ["NA", "x, y"]}
    frame = read_csv(path)
    assert frame.astype(object).where(frame.notna(), None).to_dict("list") == expected


def test_a_byte_order_mark_is_no_part_of_the_first_name(path: Path) -> None:
    """Spreadsheets write one."""
    path.write_bytes("a,b\n1,m²\n".encode("utf-8-sig"))
    assert read_csv(path).to_dict("list") == {"a": ["1"], "b": ["m²"]}


def test_a_blank_line_is_a_row_of_nulls(path: Path) -> None:
    """Otherwise the rows after it would be named by wrong line numbers."""
    path.write_text("a,b\n1,2\n\n3,4\n")
    assert read_csv(path)["a"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"\n", "the file is empty"),
        (b"a,b\n", "the file has a header and no rows"),
        (b"a,b", "the file has a header and no rows"),
        (b"a,b,a\n1,2,3\n", "the column 'a' is there twice\n  Drop or rename one."),
        (b"a,b\n1,2\n1,2,3\n", "is not a table (Expected 2 fields in line 3, saw 3)"),
        (b"a,b\n1,2,3\n", "is not a table (Expected 2 fields in line 2, saw 3)"),
        (b'a,b\n1,"2\n', "is not a table (EOF inside string"),
        ("a,b\n1,2\n3,°\n".encode("latin-1"), "line 3 is not UTF-8 text (invalid start byte)"),
        ("a,°\n1,2\n".encode("latin-1"), "line 1 is not UTF-8 text"),
        ("a,b\n1,2\n".encode("utf-16"), "line 1 is not UTF-8 text"),
    ],
)
def test_a_csv_file_that_is_no_table_is_refused(path: Path, content: bytes, problem: str) -> None:
    """With its name, the line where there is one, and what is wrong."""
    path.write_bytes(content)
    with pytest.raises(DataError) as refusal:
        read_csv(path)
    assert str(refusal.value).startswith(f"{path}: {problem}")


def test_the_line_of_a_wrong_byte_is_right_in_a_long_file(path: Path) -> None:
    """The reader decodes piece by piece; the line is counted from the start of the file."""
    path.write_bytes(b"a,b\n" + b"1,2\n" * 100_000 + "3,é\n".encode("latin-1"))
    with pytest.raises(DataError, match="line 100002 is not UTF-8"):
        read_csv(path)


@pytest.mark.parametrize("content", [b"a,b,c\n1,2\n", b"a,b\n1,2\n3\n"])
def test_a_row_with_too_few_cells_is_refused(path: Path, content: bytes) -> None:
    """Its missing cells are not nulls: in a nullable column they would be accepted."""
    path.write_bytes(content)
    with pytest.raises(DataError, match="is not a table"):
        read_csv(path)


def test_a_column_without_a_name_is_refused(path: Path) -> None:
    """And not called nan."""
    path.write_bytes(b"a,\n1,2\n")
    with pytest.raises(DataError, match="name"):
        read_csv(path)


def test_a_csv_file_is_written_and_read_without_loss(path: Path) -> None:
    """Floats keep all their digits."""
    frame = pd.DataFrame({"a": [0.1 + 0.2, 1e-300], "b": ["x", None]})
    write_csv(path, frame)
    assert decode(read_csv(path), [AREA.model_copy(update={"name": "a"})])["a"].tolist() == [
        0.1 + 0.2,
        1e-300,
    ]
    assert path.read_bytes().endswith(b"1e-300,\n")


def test_a_parquet_file_is_written_and_read_without_loss(path: Path) -> None:
    """Numbers, text and nulls."""
    frame = pd.DataFrame({"a": [0.1 + 0.2, np.nan], "b": ["x", None], "c": [1, 2]})
    write_parquet(path, frame)
    pd.testing.assert_frame_equal(read_parquet(path), frame)


@pytest.mark.parametrize(
    ("kept", "problem"),
    [
        (0, "is not a complete Parquet file"),
        (4, "is not a complete Parquet file"),
        (200, "is not a complete Parquet file"),
        (-1, "is not a complete Parquet file"),
    ],
)
def test_a_truncated_parquet_file_is_refused(path: Path, kept: int, problem: str) -> None:
    """Wherever it was cut."""
    write_parquet(path, pd.DataFrame({"a": [1.0, 2.0]}))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=problem) as refusal:
        read_parquet(path)
    assert str(path) in str(refusal.value)


def test_a_parquet_file_that_is_text_is_refused(path: Path) -> None:
    """A CSV file with the wrong name."""
    path.write_text("a,b\n1,2\n" * 10)
    with pytest.raises(DataError, match="is not a complete Parquet file"):
        read_parquet(path)


def test_a_parquet_file_without_rows_is_refused(path: Path) -> None:
    """As a CSV file with a header alone is."""
    write_parquet(path, pd.DataFrame({"a": pd.Series([], dtype=float)}))
    with pytest.raises(DataError, match="a header and no rows"):
        read_parquet(path)


@pytest.mark.parametrize("read", [read_csv, read_parquet])
def test_a_missing_file_is_named(path: Path, read: object) -> None:
    """In either format."""
    with pytest.raises(DataError, match=r"x\.csv: there is no such file"):
        read(path)  # type: ignore[operator]


@pytest.mark.parametrize("read", [read_csv, read_parquet])
def test_a_folder_is_no_table(tmp_path: Path, read: object) -> None:
    """A refusal, not a crash; an empty folder holds no rows either."""
    with pytest.raises(DataError):
        read(tmp_path)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("21.5", 21.5),
        (" 3 ", 3.0),
        ("1e3", 1000.0),
        ("inf", np.inf),
        (None, np.nan),
        (pd.NA, np.nan),
        (7, 7.0),
        (np.float32(0.5), 0.5),
    ],
)
def test_text_of_a_number_becomes_that_number(cell: object, number: float) -> None:
    """As a float64, null as NaN."""
    decoded = decode(pd.DataFrame({"area": pd.Series([cell], dtype=object)}), [AREA])["area"]
    assert decoded.dtype == np.float64
    np.testing.assert_equal(decoded.tolist(), [number])


@pytest.mark.parametrize("cell", ["tall", "", "1_000", "1,5", "0x10", True, np.True_, 10**400, [1]])
def test_a_cell_that_is_no_number_keeps_what_it_holds(cell: object) -> None:
    """So that the judge can show it; the numbers beside it are decoded all the same."""
    frame = pd.DataFrame({"area": pd.Series([cell, "2"], dtype=object)})
    assert decode(frame, [AREA])["area"].tolist() == [cell, 2.0]


@pytest.mark.parametrize("kind", ["int64", "uint8", "float32", "Int64", "Float64"])
def test_a_column_of_numbers_becomes_float64(kind: str) -> None:
    """An integral column of a Parquet file is as good as text of integers."""
    frame = pd.DataFrame({"rooms": pd.array([1, 2], dtype=kind)})
    decoded = decode(frame, [ROOMS])["rooms"]
    assert (decoded.dtype, decoded.tolist()) == (np.float64, [1.0, 2.0])


def test_a_null_in_a_nullable_integer_column_becomes_nan() -> None:
    """Such a column comes from a Parquet file or a database."""
    decoded = decode(pd.DataFrame({"balcony": pd.array([1, None], dtype="Int64")}), [BALCONY])
    np.testing.assert_equal(decoded["balcony"].to_numpy(dtype=float), [1.0, np.nan])


def test_a_text_category_stays_text() -> None:
    """Also where its values look like numbers."""
    digits = HEATING.model_copy(update={"allowed": ("1", "2")})
    assert decode(pd.DataFrame({"heating": ["1", "2"]}), [digits])["heating"].tolist() == ["1", "2"]


def test_an_integer_category_is_decoded_as_a_number() -> None:
    """Text of an integral float too."""
    coded = HEATING.model_copy(update={"allowed": (1, 2)})
    assert decode(pd.DataFrame({"heating": ["1", "2.0"]}), [coded])["heating"].tolist() == [1, 2]


def test_decoding_changes_a_copy_and_only_the_named_columns() -> None:
    """Missing columns are left out, unknown ones left alone."""
    frame = pd.DataFrame({"area": ["1"], "flat": ["7"]})
    decoded = decode(frame, [AREA, ROOMS])
    assert frame["area"].tolist() == ["1"]
    assert decoded.to_dict("list") == {"area": [1.0], "flat": ["7"]}


@given(st.lists(st.floats(5, 1000) | st.none(), min_size=1, max_size=8))
def test_decoding_twice_is_decoding_once(cells: list[float | None]) -> None:
    """A law that batch scoring of a validated file relies on."""
    frame = pd.DataFrame({"area": pd.Series([cell and str(cell) for cell in cells], dtype=object)})
    once = decode(frame, [AREA])
    pd.testing.assert_frame_equal(decode(once, [AREA]), once)


def test_a_frame_is_encoded_in_contract_order() -> None:
    """Features and target apart, whatever the order of the frame and whatever else it holds."""
    frame = pd.DataFrame({
        "flat": ["a", "b"], "rent": [900.0, 400.0], "balcony": [4.0, np.nan],
        "heating": ["oil", "gas"], "rooms": [3.0, 1.0], "area": [70.5, 20.0],
    })  # fmt: skip
    features, target = encode(CONTRACT, frame)
    np.testing.assert_equal(features, [[70.5, 3, 1, 4], [20, 1, 0, np.nan]])
    assert target.tolist() == [900, 400]
    assert features.flags.c_contiguous


def test_a_frame_that_was_not_validated_is_not_encoded() -> None:
    """The judge has the last word."""
    row = CONTRACT.example | {"rent": 900.0, "area": 2000.0}
    with pytest.raises(RowsRefused, match="row 0, column 'area': got 2000"):
        encode(CONTRACT, pd.DataFrame([row]))
