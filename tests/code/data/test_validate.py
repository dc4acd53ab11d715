"""A dataset that breaks the contract is refused: file, row, column, value and what is allowed."""

import re
from collections.abc import Callable
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
from tests.code.data.conftest import LINES, contents, csv, run_all
from tests.fakes import CONTRACT, CONTRACT_TEXT
from tests.projects import PARAMS

MakeProject = Callable[..., Project]
ROOT = Path(__file__).parents[3]
AREA = "a number from 5 to 1000 (m²)"
ROOMS = "a whole number from 1 to 20"
HEATING = "one of gas, oil, wood"
RENT = "a number from 0 to 20000 (euro)"


def test_a_sound_dataset_is_typed_and_ordered_by_the_contract(rents: MakeProject) -> None:
    """Columns in contract order, numbers as float64; the report lists what was expected."""
    backwards = ",".join(reversed("area,rooms,heating,balcony,rent".split(",")))
    lines = [",".join(reversed(line.split(","))) for line in LINES]
    project = rents(content=csv(*lines, header=backwards))
    ingest.run(project)
    assert validate.run(project).startswith("8 rows keep all ")
    frame = pd.read_parquet(project.validated)
    assert list(frame) == ["area", "rooms", "heating", "balcony", "rent"]
    assert frame["rooms"].tolist() == [3, 1, 5, 2, 4, 1, 6, 2]
    assert frame.dtypes[["area", "rooms", "balcony", "rent"]].eq(np.float64).all()
    report = read_json(project.validation)
    assert report["rows"] == 8
    assert {item["column"] for item in report["expectations"]} == {None, *frame}


def test_validating_twice_writes_the_same_bytes(judged: Project) -> None:
    """A stage is a function of its files."""
    before = contents(judged)
    run_all(judged)
    assert contents(judged) == before


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


@pytest.mark.parametrize(
    "bad",
    [BAD_NUMBERS, BAD_TEXT, BAD_NUMBERS + BAD_TEXT, BAD_NUMBERS[4:5]],
    ids=["numbers", "text", "numbers beside text", "a single cell"],
)
def test_bad_cells_are_named_and_the_earlier_outputs_stay(
    judged: Project, bad: list[tuple[str, str, str, str]]
) -> None:
    """By file, line, column and value, with what is allowed; only Data Docs are written."""
    source = judged.root / "data" / "source" / "rents.csv"
    source.write_bytes(csv(*LINES, *(line for line, *_ in bad)))
    ingest.run(judged)
    before = contents(judged)
    with pytest.raises(RowsRefused) as refusal:
        validate.run(judged)
    assert str(refusal.value).splitlines() == [
        f"data/raw/dataset.csv: {len(bad)} value{'s' * (len(bad) > 1)} refused",
        *(
            f"  row {row}, column {column!r}: got {got}; allowed: {allowed}"
            for row, (_, column, got, allowed) in enumerate(bad, start=10)
        ),
    ]
    assert contents(judged) == before
    assert {"validated", "validation", "train", "holdout", "profile"} <= before.keys()
    for _, column, *_ in bad:
        assert column in judged.data_docs.read_text()


BAD_HEADERS = [
    ("area,rooms,heating,balcony", [("rent", "no such column")], "missing"),
    (
        "area,rooms,Heating,balcony,rent",
        [("Heating", "an unknown column"), ("heating", "no such column")],
        "renamed",
    ),
    ("area,rooms,heating,balcony,rent,flat", [("flat", "an unknown column")], "extra"),
]


@pytest.mark.parametrize(
    ("header", "violations"), [row[:2] for row in BAD_HEADERS], ids=[row[2] for row in BAD_HEADERS]
)
def test_a_missing_renamed_or_extra_column_is_named(
    rents: MakeProject, header: str, violations: list[tuple[str, str]]
) -> None:
    """With the names that the contract has; nothing is written."""
    width = len(header.split(","))
    lines = [",".join([*line.split(","), "A1"][:width]) for line in LINES]
    project = rents(content=csv(*lines, header=header))
    ingest.run(project)
    before = contents(project)
    with pytest.raises(RowsRefused) as refusal:
        validate.run(project)
    found = [(violation.column, violation.got) for violation in refusal.value.violations]
    assert found == violations
    for violation in refusal.value.violations:
        assert (violation.row, violation.allowed) == (None, "area, rooms, heating, balcony, rent")
    assert contents(project) == before


def test_every_bad_cell_is_listed_at_once(rents: MakeProject) -> None:
    """A stray text in a column does not hide its other bad cells."""
    bad = ["tall,3,oil,4,900", "2000,3,oil,4,900", "70,0,oil,4,900", "70,x,dung,-4,-9"]
    project = rents(content=csv(*LINES, *bad))
    ingest.run(project)
    with pytest.raises(RowsRefused) as refusal:
        validate.run(project)
    assert [(violation.row, violation.column) for violation in refusal.value.violations] == [
        (8, "area"), (9, "area"), (10, "rooms"), (11, "balcony"), (11, "heating"), (11, "rent"),
        (11, "rooms"),
    ]  # fmt: skip


def test_hundreds_of_bad_cells_are_all_found() -> None:
    """Great Expectations cuts its list of values, though not that of rows, at two hundred."""
    frame = pd.DataFrame([CONTRACT.example | {"rent": 900.0, "area": 2000.0}] * 300)
    violations, _ = validate.validate(CONTRACT, tables.decode(frame, CONTRACT.columns))
    assert {(violation.row, violation.got) for violation in violations} == {
        (row, "2000") for row in range(300)
    }


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
    """One about the whole table, or one that could not be judged; nothing passes unjudged."""
    project = rents()
    ingest.run(project)
    plain = validate.suite

    def stricter(contract: Any) -> Any:
        suite = plain(contract)
        suite.add_expectation(expectation)
        return suite

    monkeypatch.setattr(validate, "suite", stricter)
    with pytest.raises(MlrefError):
        validate.run(project)
    assert not project.validated.exists()


def test_a_column_that_names_rows_is_kept_and_never_null(rents: MakeProject) -> None:
    """It comes first, as text, and is no feature."""
    contract = CONTRACT_TEXT + "identity: [flat]\n"
    header = "area,rooms,heating,balcony,rent,flat"
    lines = [f"{line},{place:02}" for place, line in enumerate(LINES)]
    project = rents(contract, csv(*lines, header=header))
    run_all(project)
    assert pd.read_parquet(project.validated)["flat"].tolist()[:2] == ["00", "01"]
    (project.root / "data" / "source" / "rents.csv").write_bytes(
        csv(*lines, f"{LINES[0]},", header=header)
    )
    ingest.run(project)
    with pytest.raises(RowsRefused) as refusal:
        validate.run(project)
    assert refusal.value.violations == (Violation(8, "flat", "null", "a value that names the row"),)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_feature_that_is_a_copy_of_the_target_is_refused(
    rents: MakeProject, sign: int, noise: float
) -> None:
    """Exactly, nearly, or turned round; nothing is written."""
    target = [400.0, 450, 700, 800, 900, 1100, 1500, 2000]
    lines = [
        f"{(rent * sign / 8 + 300 + noise * (place % 2)):.3f},{1 + place % 3},gas,,{rent}"
        for place, rent in enumerate(target)
    ]
    project = rents(content=csv(*lines))
    ingest.run(project)
    before = contents(project)
    with pytest.raises(DataError) as refusal:
        validate.run(project)
    assert re.match(
        r"data/raw/dataset.csv: column 'area' follows the target 'rent' with a correlation of"
        r" -?(1.0000|0.999\d); allowed: 0.999 \(validate.max_correlation\)",
        str(refusal.value),
    )
    assert contents(project) == before


def test_a_feature_that_never_changes_or_is_never_known_leaks_nothing() -> None:
    """Its correlation is not defined; that is no reason to refuse and no warning."""
    frame = pd.DataFrame({
        "area": [70.0, 70.0, 70.0], "rooms": [1.0, 3.0, 2.0], "heating": ["gas"] * 3,
        "balcony": [np.nan] * 3, "rent": [1.0, 2.0, 3.0],
    })  # fmt: skip
    validate.check_leakage(CONTRACT, frame, 0.99)


def test_leakage_is_judged_where_both_are_known() -> None:
    """Nulls of the feature are left out."""
    frame = pd.DataFrame({
        "area": [70.0, 75.0, 60.0, 80.0], "rooms": [1.0, 3.0, 2.0, 1.0], "heating": ["gas"] * 4,
        "balcony": [1.0, 2.0, 3.0, np.nan], "rent": [10.0, 20.0, 30.0, 5.0],
    })  # fmt: skip
    with pytest.raises(DataError, match="'balcony' follows the target"):
        validate.check_leakage(CONTRACT, frame, 0.99)


def test_a_column_in_another_unit_is_refused(rents: MakeProject) -> None:
    """Its values are possible, and none of them is usual; nothing is written."""
    lines = [f"{4 + place / 8},{line.split(',', 1)[1]}" for place, line in enumerate(LINES)]
    project = rents(CONTRACT_TEXT.replace("valid: [5, 1000]", "valid: [1, 1000]"), csv(*lines))
    ingest.run(project)
    before = contents(project)
    with pytest.raises(DataError) as refusal:
        validate.run(project)
    assert str(refusal.value) == (
        "data/raw/dataset.csv: 100.0% of the values of column 'area' are not between 20 and 300 (m²);"
        " allowed: 30.0% (validate.max_unusual)\n  Check the unit. If the values are right, widen the"
        " column's `expected` range."
    )
    assert contents(project) == before


@pytest.mark.parametrize(("unusual", "refused"), [(3, False), (4, True)])
def test_some_unusual_values_are_no_wrong_unit(unusual: int, refused: bool) -> None:
    """Three of ten known ones are allowed, whatever is null."""
    balcony = [50.0] * unusual + [5.0] * (10 - unusual) + [np.nan] * 10
    contract = parse(
        CONTRACT_TEXT.replace("valid: [0, 100]", "valid: [0, 100]\n    expected: [0, 20]")
    )
    frame = pd.DataFrame({
        "area": 70.0, "rooms": 3.0, "heating": "gas", "balcony": balcony, "rent": 900.0,
    })  # fmt: skip
    with pytest.raises(DataError, match="40.0% of the .* 'balcony'") if refused else nullcontext():
        validate.check_usual(contract, frame, 0.3)


def test_data_docs_show_what_failed_first_and_load_nothing(rents: MakeProject) -> None:
    """Columns stand in the contract's order, with titles and units; a title is text, not markup."""
    bad = ("tall,3,oil,4,900", "70,,oil,4,-1")
    contract = CONTRACT_TEXT.replace("Monthly rents", "Rents <b> & more")
    project = rents(contract, csv(*LINES, *bad))
    ingest.run(project)
    with pytest.raises(RowsRefused):
        validate.run(project)
    page = project.data_docs.read_text()
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
    frame = pd.DataFrame({"x": cells, "rent": 900.0})
    violations, _ = validate.validate(contract, frame)
    assert [violation.row for violation in violations] == [8, 9, 10]


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The repository's own contract and data, with the source in a file, after the three stages."""
    project = Project(tmp_path_factory.mktemp("patients"))
    contract = load(ROOT / "config" / "dataset.yaml")
    if contract.name != "diabetes":
        pytest.skip("the mistakes that people make with the diabetes data")
    document = yaml.safe_load((ROOT / "config" / "dataset.yaml").read_text())
    source = project.root / "data" / "source" / "x.csv"
    tables.write_csv(source, ingest.ingest(contract, project.root))
    document["source"] = {"kind": "file", "path": "data/source/x.csv"}
    project.contract.parent.mkdir()
    project.contract.write_text(yaml.safe_dump(document))
    project.params.write_text(yaml.safe_dump(PARAMS))
    run_all(project)
    return project


def refused(project: Project, frame: pd.DataFrame) -> RowsRefused:
    """The refusal of a changed source; whatever was validated before has to stay."""
    source = project.root / "data" / "source" / "x.csv"
    kept = source.read_bytes()
    before = contents(project)
    try:
        frame.to_csv(source, index=False)
        ingest.run(project)
        with pytest.raises(RowsRefused) as refusal:
            validate.run(project)
        assert contents(project) | {"raw": b""} == before | {"raw": b""}
        return refusal.value
    finally:
        source.write_bytes(kept)


def source_of(project: Project) -> pd.DataFrame:
    """The project's source."""
    return pd.read_csv(project.root / "data" / "source" / "x.csv")


def test_age_in_months_is_refused(patients: Project) -> None:
    """Each patient of more than ten years by the row's number."""
    frame = source_of(patients)
    refusal = refused(patients, frame.assign(age=frame["age"] * 12))
    assert {violation.column for violation in refusal.violations} == {"age"}
    assert len(refusal.violations) == (frame["age"] * 12 > 120).sum() == 442
    assert "row 2, column 'age': got 708; allowed: a number from 0 to 120 (years)" in str(refusal)


def test_scaled_columns_are_refused(patients: Project) -> None:
    """Standardised values have no unit; nearly all are impossible."""
    from sklearn.datasets import load_diabetes

    scaled, _ = load_diabetes(return_X_y=True, as_frame=True, scaled=True)
    refusal = refused(patients, source_of(patients).assign(**scaled))
    assert {violation.column for violation in refusal.violations} == set(scaled)
    assert len(refusal.violations) > 442 * 9


def test_a_negative_target_is_refused(patients: Project) -> None:
    """At its line."""
    frame = source_of(patients)
    target = load(patients.contract).target.name
    frame.loc[3, target] = -1
    (violation,) = refused(patients, frame).violations
    assert (violation.row, violation.column, violation.got) == (3, target, "-1")


def test_the_suite_says_what_the_contract_says() -> None:
    """One expectation for each rule of each column."""
    found = {
        (item.expectation_type, getattr(item, "column", None))
        for item in validate.suite(parse(CONTRACT_TEXT)).expectations
    }
    assert ("expect_column_values_to_not_be_null", "area") in found
    assert ("expect_column_values_to_not_be_null", "balcony") not in found
    assert ("expect_column_values_to_be_in_set", "heating") in found
    assert len({kind for kind, column in found if column == "rooms"}) == 4


def test_duplicate_rows_are_valid_and_stay_on_one_side(rents: MakeProject) -> None:
    """The same home listed three times is no leak into the held-out rows."""
    project = rents(content=csv(*LINES, LINES[0], LINES[0]))
    run_all(project)
    sides = [pd.read_parquet(path) for path in (project.train, project.holdout)]
    counts = [int((frame["area"] == 70.5).sum()) for frame in sides]
    assert sorted(counts) == [0, 3]
    assert split.run(project).startswith(f"{len(sides[0])} rows to train on")
