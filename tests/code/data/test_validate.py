"""A dataset that breaks the contract is refused: file, row, column, value and what is allowed."""

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import great_expectations.expectations as gxe
import numpy as np
import pandas as pd
import pytest
import yaml

from mlref.core.contract import Column, load, parse
from mlref.core.errors import DataError, MlrefError, RowsRefused, Violation
from mlref.core.storage import Project, read_json
from mlref.data import ingest, split, tables, validate
from tests.code.data.conftest import (
    HEADER,
    LINES,
    MakeProject,
    contents,
    csv,
    make_project,
    run_all,
    source,
)
from tests.fakes import CONTRACT, CONTRACT_TEXT

ROOT = Path(__file__).parents[3]
AREA = "a number from 5 to 1000 (m²)"
ROOMS = "a whole number from 1 to 20"
HEATING = "one of gas, oil, wood"
RENT = "a number from 0 to 20000 (euro)"


def test_a_sound_dataset_is_typed_and_ordered_by_the_contract(rents: MakeProject) -> None:
    lines = [",".join(reversed(line.split(","))) for line in LINES]
    project = rents(content=csv(*lines, header=",".join(reversed(HEADER.split(",")))))
    ingest.run(project)
    assert validate.run(project).startswith("8 rows keep all ")
    frame = pd.read_parquet(project.validated)
    assert list(frame) == HEADER.split(",")
    assert frame["rooms"].tolist() == [3, 1, 5, 2, 4, 1, 6, 2]
    assert frame.dtypes[["area", "rooms", "balcony", "rent"]].eq(np.float64).all()
    report = read_json(project.validation)
    assert report["rows"] == 8
    assert {item["column"] for item in report["expectations"]} == {None, *frame}


def test_the_suite_has_an_expectation_for_each_rule_of_each_column() -> None:
    found = {
        (item.expectation_type, getattr(item, "column", None))
        for item in validate.suite(CONTRACT).expectations
    }
    assert ("expect_column_values_to_not_be_null", "area") in found
    assert ("expect_column_values_to_not_be_null", "balcony") not in found
    assert ("expect_column_values_to_be_in_set", "heating") in found
    assert len({kind for kind, column in found if column == "rooms"}) == 4


def test_the_stages_write_the_same_bytes_again(validated: Project) -> None:
    before = contents(validated)
    run_all(validated)
    assert contents(validated) == before


def test_duplicate_rows_are_valid_and_stay_on_one_side(rents: MakeProject) -> None:
    project = rents(content=csv(*LINES, LINES[0], LINES[0]))
    run_all(project)
    sides = [pd.read_parquet(path) for path in (project.train, project.holdout)]
    assert sorted(int((frame["area"] == 70.5).sum()) for frame in sides) == [0, 3]
    assert split.run(project).startswith(f"{len(sides[0])} rows to train on")


BAD_NUMBERS = [
    (",3,oil,4,900", "area", "null", AREA),
    ("NaN,3,oil,4,900", "area", "null", AREA),
    ("inf,3,oil,4,900", "area", "inf", AREA),
    ("-inf,3,oil,4,900", "area", "-inf", AREA),
    ("4.9,3,oil,4,900", "area", "4.9", AREA),
    ("70,3.5,oil,4,900", "rooms", "3.5", ROOMS),
    ("70,21,oil,4,900", "rooms", "21", ROOMS),
    ("70,3,Oil,4,900", "heating", "'Oil'", HEATING),
    ("70,3,,4,900", "heating", "null", HEATING),
    ("70,3,7,4,900", "heating", "'7'", HEATING),
    ("70,3,oil,inf,900", "balcony", "inf", "a number from 0 to 100 or null"),
    ("70,3,oil,4,-1", "rent", "-1", RENT),
    ("70,3,oil,4,", "rent", "null", RENT),
]
BAD_TEXT = [
    ("tall,3,oil,4,900", "area", "'tall'", AREA),
    ("True,3,oil,4,900", "area", "'True'", AREA),
    ('"1,5",3,oil,4,900', "area", "'1,5'", AREA),
    ("70,3,oil,none,900", "balcony", "'none'", "a number from 0 to 100 or null"),
]


def refused(project: Project, content: bytes) -> list[Violation]:
    """What is refused of another source; whatever was validated before stays."""
    source(project).write_bytes(content)
    ingest.run(project)
    before = contents(project)
    with pytest.raises(MlrefError) as refusal:
        validate.run(project)
    assert contents(project) == before
    assert str(refusal.value).startswith("data/raw/dataset.csv: ")
    return list(refusal.value.violations) if isinstance(refusal.value, RowsRefused) else []


@pytest.mark.parametrize(
    "bad",
    [BAD_NUMBERS, BAD_NUMBERS + BAD_TEXT, BAD_NUMBERS[4:5]],
    ids=["numbers", "numbers beside text", "a single cell"],
)
def test_bad_cells_are_named_all_at_once_and_the_earlier_outputs_stay(
    validated: Project, bad: list[tuple[str, str, str, str]]
) -> None:
    """A stray text in a column does not hide its other bad cells; Data Docs show them."""
    found = refused(validated, csv(*LINES, *(line for line, *_ in bad)))
    assert found == [Violation(row, *cell) for row, (_, *cell) in enumerate(bad, start=8)]
    assert all(column in validated.data_docs.read_text() for _, column, *_ in bad)


def test_several_bad_cells_of_a_row_are_named_with_the_line_of_the_file(
    validated: Project,
) -> None:
    source(validated).write_bytes(csv(*LINES, "70,x,dung,-4,-9"))
    ingest.run(validated)
    with pytest.raises(RowsRefused) as refusal:
        validate.run(validated)
    lines = str(refusal.value).splitlines()
    assert lines[0] == "data/raw/dataset.csv: 4 values refused"
    assert lines[1:] == [
        "  row 10, column 'balcony': got -4; allowed: a number from 0 to 100 or null",
        f"  row 10, column 'heating': got 'dung'; allowed: {HEATING}",
        f"  row 10, column 'rent': got -9; allowed: {RENT}",
        f"  row 10, column 'rooms': got 'x'; allowed: {ROOMS}",
    ]


@pytest.mark.parametrize(
    ("header", "violations"),
    [
        ("area,rooms,heating,balcony", [("rent", "no such column")]),
        (
            "area,rooms,Heating,balcony,rent",
            [("Heating", "an unknown column"), ("heating", "no such column")],
        ),
        (f"{HEADER},flat", [("flat", "an unknown column")]),
    ],
    ids=["missing", "renamed", "extra"],
)
def test_a_missing_renamed_or_extra_column_is_named(
    validated: Project, header: str, violations: list[tuple[str, str]]
) -> None:
    width = header.count(",") + 1
    lines = [",".join([*line.split(","), "A1"][:width]) for line in LINES]
    allowed = HEADER.replace(",", ", ")
    expected = [Violation(None, column, got, allowed) for column, got in violations]
    assert refused(validated, csv(*lines, header=header)) == expected


def test_hundreds_of_bad_cells_are_all_found() -> None:
    """Great Expectations cuts its list of values, though not that of rows, at two hundred."""
    frame = pd.DataFrame([CONTRACT.example | {"rent": 900.0, "area": 2000.0}] * 300)
    violations, _ = validate.validate(CONTRACT, tables.decode(frame, CONTRACT.columns))
    assert [(one.row, one.got) for one in violations] == [(row, "2000") for row in range(300)]


@pytest.mark.parametrize(
    "expectation",
    [
        gxe.ExpectTableRowCountToBeBetween(max_value=0),
        gxe.ExpectColumnMaxToBeBetween(column="heating", max_value=1),
    ],
    ids=["names no cell", "raises"],
)
def test_a_failed_expectation_is_a_refusal_also_where_it_names_no_cell(
    rents: MakeProject, monkeypatch: pytest.MonkeyPatch, expectation: Any
) -> None:
    """One about the whole table, or one that could not be evaluated."""
    project = rents()
    ingest.run(project)
    suite = validate.suite(CONTRACT)
    suite.add_expectation(expectation)
    monkeypatch.setattr(validate, "suite", lambda contract: suite)
    with pytest.raises(MlrefError):
        validate.run(project)
    assert not project.validated.exists()


def test_a_column_that_names_rows_is_kept_and_never_null(rents: MakeProject) -> None:
    header = f"{HEADER},flat"
    lines = [f"{line},{place:02}" for place, line in enumerate(LINES)]
    project = rents(CONTRACT_TEXT + "identity: [flat]\n", csv(*lines, header=header))
    run_all(project)
    assert pd.read_parquet(project.validated)["flat"].tolist()[:2] == ["00", "01"]
    found = refused(project, csv(*lines, f"{LINES[0]},", header=header))
    assert found == [Violation(8, "flat", "null", "a value that names the row")]


def frame_of(**columns: Any) -> pd.DataFrame:
    """Decoded rows of the rents, all sound but for the columns given."""
    usual = {"area": 70.0, "rooms": 3.0, "heating": "gas", "balcony": 5.0, "rent": 900.0}
    return pd.DataFrame(usual | columns)


@pytest.mark.parametrize(
    ("feature", "leaks"),
    [
        ([50.0, 100, 200, 300], True),
        ([300.0, 250, 150, 50], True),
        ([50.5, 100, 200.5, 300], True),
        ([50.0, 100, 200, np.nan], True),  # known values alone count
        ([200.0, 100, 300, 50], False),
        ([70.0, 70, 70, 70], False),  # its correlation is not defined
        ([np.nan] * 4, False),
    ],
    ids=str,
)
def test_a_planted_leak_is_refused(feature: list[float], leaks: bool) -> None:
    """A copy of the target, exactly, nearly, or turned round."""
    contract = CONTRACT.model_copy(
        update={"features": (CONTRACT.features[3].model_copy(update={"valid": (0, 1000)}),)}
    )
    frame = frame_of(balcony=feature, rent=[500.0, 1000, 2000, 3000])
    found = "column 'balcony' follows the target 'rent' with a correlation of .*; allowed: 0.99"
    with pytest.raises(DataError, match=found) if leaks else nullcontext():
        validate.check_leakage(contract, frame, 0.99)


@pytest.mark.parametrize(("unusual", "refused"), [(3, False), (4, True)])
def test_some_unusual_values_are_no_wrong_unit(unusual: int, refused: bool) -> None:
    """Three of ten known ones are allowed, whatever is null."""
    balcony = [50.0] * unusual + [5.0] * (10 - unusual) + [np.nan] * 10
    contract = parse(
        CONTRACT_TEXT.replace("valid: [0, 100]", "valid: [0, 100]\n    expected: [0, 20]")
    )
    with pytest.raises(DataError, match="40.0% of the .* 'balcony'") if refused else nullcontext():
        validate.check_usual(contract, frame_of(balcony=balcony), 0.3)


def test_the_stage_refuses_a_leak_and_another_unit(validated: Project) -> None:
    """A leak: area is an eighth of the rent. Another unit: possible areas, and none of them usual."""
    leaking = [f"{30 + place},{1 + place % 3},gas,,{8 * (30 + place)}" for place in range(8)]
    assert refused(validated, csv(*leaking)) == []
    text = validated.contract.read_text()
    validated.contract.write_text(text.replace("valid: [5, 1000]", "valid: [1, 1000]"))
    small = [f"{4 + place / 8},{line.split(',', 1)[1]}" for place, line in enumerate(LINES)]
    assert refused(validated, csv(*small)) == []


def test_data_docs_show_what_failed_first_and_load_nothing(validated: Project) -> None:
    """Columns stand in the contract's order, with titles and units; a title is text, not markup."""
    text = validated.contract.read_text()
    validated.contract.write_text(text.replace("Monthly rents", "Rents <b> & more"))
    refused(validated, csv(*LINES, "tall,3,oil,4,900", "70,,oil,4,-1"))
    page = validated.data_docs.read_text()
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page) and "<script" not in page
    assert "<title>Rents &lt;b&gt; &amp; more: data validation</title>" in page
    assert "10 rows, " in page and "<code>tall</code>" in page and "<code>-1</code>" in page
    sections = re.findall(r"<h2>([^<]*)", page)
    assert [text.strip() for text in sections] == [
        "Failed", "The table", "Area (m²)", "Rooms", "Heating", "Balcony", "Rent (euro)",
    ]  # fmt: skip


def test_an_allowed_value_with_an_exponent_is_whole() -> None:
    """Integers that Python prints as 1e+16 are integers; halves are not."""
    wide = {"name": "x", "title": "X", "meaning": "X", "type": "integer", "example": 1}
    column = Column(**wide, valid=(-1e300, 1e300))  # type: ignore[arg-type]
    contract = CONTRACT.model_copy(update={"features": (column,)})
    cells = [1.0, -7.0, 1e15, 1e16, 1.5e16, 1e22, 1.2345678e100, -3e200, 0.5, 1e-5, -2.25]
    violations, _ = validate.validate(contract, pd.DataFrame({"x": cells, "rent": 900.0}))
    assert [violation.row for violation in violations] == [8, 9, 10]


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The repository's own contract, with its data in a file, after the three stages."""
    contract = load(ROOT / "config" / "dataset.yaml")
    if contract.name != "diabetes":
        pytest.skip("the mistakes that people make with the diabetes data")
    document = yaml.safe_load((ROOT / "config" / "dataset.yaml").read_text())
    document["source"] = {"kind": "file", "path": "data/source/rents.csv"}
    content = ingest.ingest(contract, ROOT).to_csv(index=False).encode()
    project = make_project(tmp_path_factory.mktemp("patients"), yaml.safe_dump(document), content)
    run_all(project)
    return project


def test_mistakes_that_people_make_with_the_diabetes_data_are_refused(patients: Project) -> None:
    """Age in months, the scaled columns of the textbook, a negative target."""
    from sklearn.datasets import load_diabetes

    frame, target = pd.read_csv(source(patients)), load(patients.contract).target.name
    months = refused(patients, frame.assign(age=frame["age"] * 12).to_csv(index=False).encode())
    assert {violation.column for violation in months} == {"age"} and len(months) == 442
    assert months[0] == Violation(0, "age", "708", "a number from 0 to 120 (years)")
    scaled, _ = load_diabetes(return_X_y=True, as_frame=True, scaled=True)
    found = refused(patients, frame.assign(**scaled).to_csv(index=False).encode())
    assert {violation.column for violation in found} == set(scaled) and len(found) > 442 * 9
    frame.loc[3, target] = -1
    (violation,) = refused(patients, frame.to_csv(index=False).encode())
    assert (violation.row, violation.column, violation.got) == (3, target, "-1")
