"""Rows that people add are judged like the source, and none is there twice."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlref.core.contract import parse
from mlref.core.errors import DataError, RowsRefused
from mlref.core.storage import Project
from mlref.data import ingest, validate
from mlref.data.labelled import unseen
from mlref.data.tables import decode, read_csv
from tests.code.data.conftest import LINES, csv
from tests.code.data.test_validate import BAD_NUMBERS, BAD_TEXT
from tests.fakes import CONTRACT, CONTRACT_TEXT

NAMED = parse(CONTRACT_TEXT + "identity: [flat]\n")
NEW = ("61,2,gas,,777", "62,3,oil,1.5,888")
SAME = "as the same row has already"


@pytest.fixture
def there(tmp_path: Path) -> pd.DataFrame:
    """The rows of the source, as they come from a CSV file."""
    (tmp_path / "there.csv").write_bytes(csv(*LINES))
    return read_csv(tmp_path / "there.csv")


@pytest.fixture
def given(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of labelled rows."""

    def write(*lines: str, name: str = "given.csv", **header: str) -> Path:
        path = tmp_path / name
        path.write_bytes(csv(*lines, **header))
        return path

    return write


def refused(there: pd.DataFrame, path: Path) -> list[tuple[int | None, str | None, str, str]]:
    """Row, column, value and what is allowed, of each violation about a file."""
    with pytest.raises(RowsRefused) as refusal:
        unseen(CONTRACT, there, [path])
    assert str(refusal.value).startswith(f"{path}: ")
    return [
        (found.row, found.column, found.got, found.allowed) for found in refusal.value.violations
    ]


def test_new_rows_are_given_decoded_and_in_the_contracts_order(
    there: pd.DataFrame, given: Callable[..., Path]
) -> None:
    """Whatever the order of the columns in the file."""
    path = given("777,61,gas,,2", header="rent,area,heating,balcony,rooms")
    rows, skipped = unseen(CONTRACT, there, [path])
    assert list(rows) == ["area", "rooms", "heating", "balcony", "rent"]
    np.testing.assert_equal(rows.iloc[0].tolist(), [61.0, 2.0, "gas", np.nan, 777.0])
    assert (len(rows), skipped) == (1, 0)


def test_equal_rows_are_skipped_and_counted(
    there: pd.DataFrame, given: Callable[..., Path]
) -> None:
    """Of the source or of the file itself, also with a null or in another spelling of a number."""
    rows, skipped = unseen(
        CONTRACT, there, [given(LINES[1], "70.50,3.0,oil,4.0,9e2", *NEW, NEW[0])]
    )
    assert rows["area"].tolist() == [61, 62]
    assert skipped == 3


def test_rows_of_an_earlier_file_are_there_for_a_later_one(
    there: pd.DataFrame, given: Callable[..., Path]
) -> None:
    """Two people may have added the same rows on two branches."""
    files = [given(*NEW, name="a.csv"), given(NEW[1], "63,1,oil,,500", name="b.csv")]
    rows, skipped = unseen(CONTRACT, there, files)
    assert (rows["area"].tolist(), skipped) == ([61, 62, 63], 1)


def test_another_label_for_a_row_that_is_there_is_refused_with_both_values(
    there: pd.DataFrame, given: Callable[..., Path]
) -> None:
    """Nobody but the source can say which one is right."""
    path = given(NEW[0], "20,1,gas,,450")
    assert refused(there, path) == [(1, "rent", "450", f"400, {SAME}")]


def test_two_labels_for_one_row_of_a_file_are_refused(
    there: pd.DataFrame, given: Callable[..., Path]
) -> None:
    """The second is the one that is named."""
    path = given(NEW[0], "61,2,gas,,700")
    assert refused(there, path) == [(1, "rent", "700", f"777, {SAME}")]


def test_conflicting_files_are_refused_by_the_name_of_the_later(
    there: pd.DataFrame, given: Callable[..., Path]
) -> None:
    """As a merge of two branches brings them together."""
    files = [given(NEW[0], name="a.csv"), given("61,2,gas,,700", name="b.csv")]
    with pytest.raises(RowsRefused, match=r"b\.csv: 1 value refused\n  row 2, column 'rent'"):
        unseen(CONTRACT, there, files)


def test_where_columns_name_a_row_every_other_value_must_agree(
    there: pd.DataFrame, given: Callable[..., Path]
) -> None:
    """The same flat has one area and one rent."""
    named = there.assign(flat=range(len(there)))
    header = "flat,area,rooms,heating,balcony,rent"
    rows, skipped = unseen(NAMED, named, [given(f"0,{LINES[0]}", f"99,{LINES[0]}", header=header)])
    assert (rows["flat"].tolist(), skipped) == (["99"], 1)
    with pytest.raises(RowsRefused) as refusal:
        unseen(NAMED, named, [given("0,71,3,oil,,950", header=header)])
    assert [(found.column, found.got, found.allowed) for found in refusal.value.violations] == [
        ("area", "71", f"70.5, {SAME}"),
        ("balcony", "null", f"4, {SAME}"),
        ("rent", "950", f"900, {SAME}"),
    ]


def test_a_row_without_its_name_is_refused(there: pd.DataFrame, given: Callable[..., Path]) -> None:
    """As at validation."""
    path = given(f",{NEW[0]}", header="flat,area,rooms,heating,balcony,rent")
    with pytest.raises(RowsRefused, match="column 'flat': got null; allowed: a value that names"):
        unseen(NAMED, there.assign(flat=range(len(there))), [path])


def test_a_source_with_two_labels_for_a_row_accepts_either(
    there: pd.DataFrame, given: Callable[..., Path]
) -> None:
    """It may have been measured twice; a third value is refused all the same."""
    twice = pd.concat([there, there[:1].assign(rent="950")], ignore_index=True)
    assert unseen(CONTRACT, twice, [given(LINES[0], "70.5,3,oil,4,950")])[1] == 2
    assert refused(twice, given("70.5,3,oil,4,960")) == [(0, "rent", "960", f"950, {SAME}")]


def test_every_finding_of_a_file_is_listed(there: pd.DataFrame, given: Callable[..., Path]) -> None:
    """Impossible values and contradictions, by row."""
    path = given("4,3,oil,4,900", "20,1,gas,,450", "61,0,coal,,777")
    assert [(row, column) for row, column, *_ in refused(there, path)] == [
        (0, "area"),
        (1, "rent"),
        (2, "rooms"),
        (2, "heating"),
    ]


@pytest.mark.parametrize(
    ("header", "line", "column", "got"),
    [
        ("area,rooms,heating,rent", "61,2,gas,777", "balcony", "no such column"),
        ("area,rooms,heating,balcony,rent,pets", "61,2,gas,,777,1", "pets", "an unknown column"),
    ],
)
def test_other_columns_than_the_contracts_are_refused(
    there: pd.DataFrame, given: Callable[..., Path], header: str, line: str, column: str, got: str
) -> None:
    """A missing one would become nulls, also where the contract allows them."""
    ((row, name, seen, allowed),) = refused(there, given(line, header=header))
    assert (row, name, seen) == (None, column, got)
    assert allowed == "area, rooms, heating, balcony, rent"


def test_nothing_is_added_to_a_source_with_other_columns(
    there: pd.DataFrame, given: Callable[..., Path]
) -> None:
    """The joined table would have its missing column, filled with nulls."""
    with pytest.raises(RowsRefused, match="the contract's source: .*\n.*'balcony': got no such"):
        unseen(CONTRACT, there.drop(columns="balcony"), [given(*NEW)])


def test_a_file_that_is_no_table_is_refused(
    there: pd.DataFrame, given: Callable[..., Path]
) -> None:
    """In the words of every other CSV file."""
    with pytest.raises(DataError, match="Expected 5 fields in line 2, saw 6"):
        unseen(CONTRACT, there, [given("1,2,oil,3,4,5")])


def test_the_verdict_is_that_of_validation(
    rents: Callable[..., Project], there: pd.DataFrame, given: Callable[..., Path]
) -> None:
    """Cell for cell, on all the bad cells by which validation is tested."""
    path = given(*(line for line, *_ in BAD_NUMBERS + BAD_TEXT))
    violations, _ = validate.validate(CONTRACT, decode(read_csv(path), CONTRACT.columns))
    expected = [(found.row, found.column, found.got, found.allowed) for found in violations]
    assert refused(there, path) == expected != []


def test_ingest_puts_the_added_rows_after_the_source_by_the_names_of_their_files(
    rents: Callable[..., Project],
) -> None:
    """And names the file and line of one that is wrong."""
    project = rents()
    folder = project.root / "data" / "source" / "labels"
    folder.mkdir()
    (folder / "b.csv").write_bytes(csv(NEW[1]))
    (folder / "a.csv").write_bytes(csv(NEW[0], LINES[0]))
    assert ingest.run(project) == "10 rows × 5 columns → data/raw/dataset.csv"
    tail = project.raw.read_text().splitlines()[-2:]
    assert tail == ["61.0,2.0,gas,,777.0", "62.0,3.0,oil,1.5,888.0"]
    before = project.raw.read_bytes()
    (folder / "b.csv").write_bytes(csv(NEW[1], "4,3,oil,4,900"))
    with pytest.raises(
        RowsRefused, match=r"labels/b\.csv: 1 value refused\n  row 3, column 'area'"
    ):
        ingest.run(project)
    assert project.raw.read_bytes() == before


def test_files_without_a_new_row_change_nothing(rents: Callable[..., Project]) -> None:
    """Not even a byte of the raw table."""
    project = rents()
    ingest.run(project)
    before = project.raw.read_bytes()
    (project.root / "data" / "source" / "labels").mkdir()
    (project.root / "data" / "source" / "labels" / "a.csv").write_bytes(csv(*LINES))
    ingest.run(project)
    assert project.raw.read_bytes() == before


def test_what_a_killed_import_leaves_is_not_ingested(rents: Callable[..., Project]) -> None:
    """A file is written beside its place and renamed when it is whole."""
    project = rents()
    scratch = project.root / "data" / "source" / "labels" / ".a.csv.k3j2x_1q"
    scratch.mkdir(parents=True)
    (scratch / "a.csv").write_bytes(csv(*NEW)[:-5])
    assert ingest.run(project).startswith("8 rows")
