"""Rows that people add are validated like the source, and none is there twice."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlref.core.contract import parse
from mlref.core.errors import DataError, RowsRefused
from mlref.data import ingest
from mlref.data.labelled import times, unseen
from mlref.data.tables import decode, read_csv
from tests.code.data.conftest import HEADER, LINES, MakeProject, csv
from tests.code.data.test_validate import BAD
from tests.fakes import CONTRACT, CONTRACT_TEXT

NAMED = parse(CONTRACT_TEXT + "identity: [flat]\n")
NEW = ("61,2,gas,,777", "62,3,oil,1.5,888")
SAME = "as the same row has already"

Write = Callable[..., Path]
Refused = list[tuple[int | None, str | None, str, str]]


@pytest.fixture
def given(tmp_path: Path) -> Write:
    """Writes a file of labelled rows."""

    def write(*lines: str, name: str = "given.csv", header: str = HEADER) -> Path:
        path = tmp_path / name
        path.write_bytes(csv(*lines, header=header))
        return path

    return write


@pytest.fixture
def there(given: Write) -> pd.DataFrame:
    """The rows of the source, as they come from a CSV file."""
    return read_csv(given(*LINES, name="there.csv"))


def refused(there: pd.DataFrame, path: Path, contract: object = CONTRACT) -> Refused:
    """Row, column, value and what is allowed, of each violation about a file."""
    with pytest.raises(RowsRefused) as refusal:
        unseen(contract, there, [path])
    assert str(refusal.value).startswith(f"{path}: ")
    return [(one.row, one.column, one.got, one.allowed) for one in refusal.value.violations]


def test_new_rows_are_given_decoded_and_in_the_contracts_order(
    there: pd.DataFrame, given: Write
) -> None:
    path = given("777,61,gas,,2", header="rent,area,heating,balcony,rooms")
    rows, skipped = unseen(CONTRACT, there, [path])
    assert list(rows) == ["area", "rooms", "heating", "balcony", "rent"]
    np.testing.assert_equal(rows.iloc[0].tolist(), [61.0, 2.0, "gas", np.nan, 777.0])
    assert (len(rows), skipped) == (1, 0)


def test_equal_rows_of_the_source_the_file_or_an_earlier_file_are_skipped_and_counted(
    there: pd.DataFrame, given: Write
) -> None:
    """Also with a null, or in another spelling of a number."""
    first = given(LINES[1], "70.50,3.0,oil,4.0,9e2", *NEW, NEW[0])
    later = given(NEW[1], "63,1,oil,,500", name="later.csv")
    rows, skipped = unseen(CONTRACT, there, [first, later])
    assert (rows["area"].tolist(), skipped) == ([61, 62, 63], 4)


def test_another_label_for_a_row_that_is_there_is_refused_with_both_values(
    there: pd.DataFrame, given: Write
) -> None:
    """In the source, or earlier in the file."""
    found = refused(there, given(NEW[0], "20,1,gas,,450", "61,2,gas,,700"))
    assert found == [(1, "rent", "450", f"400, {SAME}"), (2, "rent", "700", f"777, {SAME}")]


def test_where_columns_name_a_row_every_other_value_must_agree(
    there: pd.DataFrame, given: Write
) -> None:
    named, header = there.assign(flat=range(len(there))), f"flat,{HEADER}"
    rows, skipped = unseen(NAMED, named, [given(f"0,{LINES[0]}", f"99,{LINES[0]}", header=header)])
    assert (rows["flat"].tolist(), skipped) == (["99"], 1)
    assert refused(named, given("0,71,3,oil,,950", header=header), NAMED) == [
        (0, "area", "71", f"70.5, {SAME}"),
        (0, "balcony", "null", f"4, {SAME}"),
        (0, "rent", "950", f"900, {SAME}"),
    ]
    nameless = refused(named, given(f",{NEW[0]}", header=header), NAMED)
    assert nameless == [(0, "flat", "null", "a value that names the row")]


def test_a_source_with_two_labels_for_a_row_accepts_either(
    there: pd.DataFrame, given: Write
) -> None:
    """It may have been measured twice; a third value is refused all the same."""
    twice = pd.concat([there, there[:1].assign(rent="950")], ignore_index=True)
    assert unseen(CONTRACT, twice, [given(LINES[0], "70.5,3,oil,4,950")])[1] == 2
    assert refused(twice, given("70.5,3,oil,4,960")) == [(0, "rent", "960", f"950, {SAME}")]


def test_other_columns_than_the_contracts_are_refused(there: pd.DataFrame, given: Write) -> None:
    """A missing one would become nulls, also where the contract allows them."""
    allowed = HEADER.replace(",", ", ")
    assert refused(there, given("61,2,gas,777,1", header="area,rooms,heating,rent,pets")) == [
        (None, "balcony", "no such column", allowed),
        (None, "pets", "an unknown column", allowed),
    ]


def test_impossible_cells_and_contradictions_are_refused_together(
    there: pd.DataFrame, given: Write
) -> None:
    found = refused(there, given(*(line for line, *_ in BAD)))
    assert found == [(row, *cell) for row, (_, *cell) in enumerate(BAD)]
    mixed = refused(there, given("4,3,oil,4,900", "20,1,gas,,450", "61,0,coal,,777"))
    places = [(0, "area"), (1, "rent"), (2, "rooms"), (2, "heating")]
    assert [(row, column) for row, column, *_ in mixed] == places


def test_ingest_puts_the_added_rows_after_the_source_by_the_names_of_their_files(
    rents: MakeProject,
) -> None:
    """A wrong one is named by file and line; the rest of a killed import is not read."""
    project = rents()
    folder = project.root / "data" / "source" / "labels"
    scratch = folder / ".a.csv.k3j2x_1q"
    scratch.mkdir(parents=True)
    (scratch / "a.csv").write_bytes(csv(*NEW)[:-5])
    (folder / "0.csv").write_bytes(csv(*LINES))
    assert ingest.run(project).startswith("8 rows")
    assert project.raw.read_bytes() == csv(*LINES)
    (folder / "b.csv").write_bytes(csv(NEW[1]))
    (folder / "a.csv").write_bytes(csv(NEW[0], LINES[0]))
    assert ingest.run(project) == "10 rows × 5 columns → data/raw/dataset.csv"
    tail = project.raw.read_text().splitlines()[-2:]
    assert tail == ["61.0,2.0,gas,,777.0", "62.0,3.0,oil,1.5,888.0"]
    before = project.raw.read_bytes()
    (folder / "b.csv").write_bytes(csv(NEW[1], "4,3,oil,4,900"))
    with pytest.raises(RowsRefused, match=r"b\.csv: 1 value refused\n  row 3, column 'area'"):
        ingest.run(project)
    assert project.raw.read_bytes() == before


def test_a_file_may_say_when_its_rows_were_predicted(
    there: pd.DataFrame, given: Write, tmp_path: Path
) -> None:
    """A row of the source, or one without a time, has none; a zone is turned into UTC."""
    folder = tmp_path / "data" / "source" / "labels"
    folder.mkdir(parents=True)
    lines = f"{NEW[0]},2026-11-01T12:00:00+02:00", f"{NEW[1]},"
    path = given(*lines, name="data/source/labels/a.csv", header=f"{HEADER},predicted_at")
    given("63,1,gas,,500", name="data/source/labels/b.csv")
    rows, _ = unseen(CONTRACT, there, [path])
    assert list(rows) == [*HEADER.split(","), "predicted_at"]
    frame = pd.concat([decode(there, CONTRACT.columns)[:1], rows], ignore_index=True)
    found = times(CONTRACT, tmp_path, frame)
    assert found[1] == np.datetime64("2026-11-01T10:00:00")
    assert np.isnat(found).tolist() == [True, False, True]
    assert not (found[[0, 2]] > np.datetime64("1999-01-01")).any(), "without a time it is older"


def test_a_time_that_is_none_is_refused(there: pd.DataFrame, given: Write) -> None:
    path = given(f"{NEW[0]},yesterday", header=f"{HEADER},predicted_at")
    allowed = "a date and time, such as 2026-11-24T12:00:00Z, or nothing"
    assert refused(there, path) == [(0, "predicted_at", "'yesterday'", allowed)]


def test_the_contract_s_time_counts_where_the_log_has_none(tmp_path: Path) -> None:
    contract = parse(CONTRACT_TEXT + "split: {by: time, column: day}\n")
    cells = {"area": [70.0, 71, 72], "rooms": 3.0, "heating": "oil", "balcony": 1.0, "rent": 900.0}
    frame = pd.DataFrame(cells | {"day": ["2026-01-31", "2026-02-01T12:00:00+02:00", "2026-03"]})
    found = times(contract, tmp_path, frame)
    assert found.astype("datetime64[h]").astype(str).tolist() == [
        "2026-01-31T00", "2026-02-01T10", "2026-03-01T00",
    ]  # fmt: skip


@pytest.mark.parametrize("column", ["area", "day"])
def test_a_number_is_no_date_to_compare_with(tmp_path: Path, given: Write, column: str) -> None:
    """Where the log says when a row was predicted, that counts; the others are older."""
    contract = parse(CONTRACT_TEXT + f"split: {{by: time, column: {column}}}\n")
    cells = {"area": [63.0, 71], "rooms": 1.0, "heating": "gas", "balcony": 1.0, "rent": 500.0}
    frame = pd.DataFrame(cells | {"day": ["2024", "2025"]})[[*contract.header]]
    with pytest.raises(DataError, match=f"(?s)'{column}' holds numbers, .* such as 2026-11-30"):
        times(contract, tmp_path, frame)
    (tmp_path / "data" / "source" / "labels").mkdir(parents=True)
    row = ["63,1,gas,1,500", "2024", "2026-11-01"]
    names = [HEADER, "day", "predicted_at"]
    if column == "area":
        del row[1], names[1]
    given(",".join(row), name="data/source/labels/a.csv", header=",".join(names))
    assert np.isnat(times(contract, tmp_path, frame)).tolist() == [False, True]
