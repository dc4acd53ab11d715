"""A dataset that breaks the contract is refused: file, row, column, value and what is allowed."""

import re
from contextlib import nullcontext
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
import numpy as np
import pandas as pd
import pytest

from mlref.core.contract import parse
from mlref.core.errors import DataError, MlrefError, RowsRefused, Violation
from mlref.core.storage import Project, read_json
from mlref.data import ingest, split, validate
from mlref.data.tables import encode
from tests.code.data.conftest import HEADER, LINES, MakeProject, contents, csv, run_all, source
from tests.fakes import CONTRACT, CONTRACT_TEXT, TYPES_TEXT

AREA = "a number from 5 to 1000 (m²)"
ROOMS = "a whole number from 1 to 20"
HEATING = "one of gas, oil, wood"
BALCONY = "a number from 0 to 100 or null"
BAD = [
    (",3,oil,4,900", "area", "null", AREA),
    ("-inf,3,oil,4,900", "area", "-inf", AREA),
    ("4.9,3,oil,4,900", "area", "4.9", AREA),
    ("70,3.5,oil,4,900", "rooms", "3.5", ROOMS),
    ("70,3,Oil,4,900", "heating", "'Oil'", HEATING),
    ("70,3,,4,900", "heating", "null", HEATING),
    ("70,3,oil,4,-1", "rent", "-1", "a number from 0 to 20000 (euro)"),
    ("tall,3,oil,4,900", "area", "'tall'", AREA),
    ('"1,5",3,oil,4,900', "area", "'1,5'", AREA),
    ("70,3,oil,none,900", "balcony", "'none'", BALCONY),
]


def refused(project: Project, content: bytes, said: str | None = None) -> list[Violation]:
    """What is refused of another source; whatever was validated before stays."""
    source(project).write_bytes(content)
    ingest.run(project)
    before = contents(project)
    with pytest.raises(MlrefError, match=said) as refusal:
        validate.run(project)
    assert contents(project) == before
    assert str(refusal.value).startswith("data/raw/dataset.csv: ")
    return list(refusal.value.violations) if isinstance(refusal.value, RowsRefused) else []


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


def test_bad_cells_are_named_all_at_once_and_the_earlier_outputs_stay(validated: Project) -> None:
    """A stray text in a column does not hide its other bad cells; Data Docs show what failed first.

    Their sections are in the contract's order, with titles and units; a title is text, not markup.
    """
    text = validated.contract.read_text()
    validated.contract.write_text(text.replace("Monthly rents", "Rents <b> & more"))
    content = csv(*LINES, *(line for line, *_ in BAD), "70,x,dung,-4,900")
    found = refused(validated, content, "row 10, column 'area': got null")  # a line of the file
    assert found[: len(BAD)] == [Violation(row, *cell) for row, (_, *cell) in enumerate(BAD, 8)]
    last = [("rooms", "'x'", ROOMS), ("heating", "'dung'", HEATING), ("balcony", "-4", BALCONY)]
    assert found[len(BAD) :] == [Violation(8 + len(BAD), *cell) for cell in last]
    page = validated.data_docs.read_text()
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page) and "<script" not in page
    assert "<title>Rents &lt;b&gt; &amp; more: data validation</title>" in page
    assert "19 rows, " in page and "<code>tall</code>" in page and "<code>-1</code>" in page
    assert "Every value is one of gas, oil, wood." in page
    failed = re.search(r">(\d+) failed<", page)
    assert failed and page.count("✘ failed") == int(failed[1]) > 1 and "✔ met" in page
    sections = re.findall(r"<h2>([^<]*)", page)
    assert [text.strip() for text in sections] == [
        "Failed", "The table", "Area (m²)", "Rooms", "Heating", "Balcony", "Rent (euro)",
    ]  # fmt: skip


def test_a_missing_and_an_extra_column_are_named(validated: Project) -> None:
    content = csv(*LINES, header=HEADER.replace("heating", "Heating"))
    columns = [("heating", "no such column"), ("Heating", "an unknown column")]
    allowed = HEADER.replace(",", ", ")
    assert refused(validated, content) == [Violation(None, *it, allowed) for it in columns]


def test_a_failed_expectation_is_a_refusal_also_where_it_names_no_cell(
    rents: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second raises."""
    project = rents()
    ingest.run(project)
    for expectation in (
        gxe.ExpectTableRowCountToBeBetween(max_value=0),
        gxe.ExpectColumnMaxToBeBetween(column="heating", max_value=1),
    ):
        suite = gx.ExpectationSuite(name="rents", expectations=[expectation])
        monkeypatch.setattr(validate, "suite", lambda contract, suite=suite: suite)
        with pytest.raises(DataError, match="is not met"):
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
        ([300.5, 250, 150.5, 50], True),
        ([50.0, 100, 200, np.nan], True),  # known values alone count
        ([200.0, 100, 300, 50], False),
        ([70.0, 70, 70, 70], False),  # its correlation is not defined
        ([np.nan] * 4, False),
    ],
    ids=str,
)
def test_a_planted_leak_is_refused(feature: list[float], leaks: bool) -> None:
    """A copy of the target, exactly, nearly, or turned round."""
    balcony = CONTRACT.features[3].model_copy(update={"valid": (0, 1000)})
    contract = CONTRACT.model_copy(update={"features": (balcony,)})
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


def test_rows_without_a_target_are_refused_or_where_the_contract_says_so_dropped_and_counted(
    rents: MakeProject,
) -> None:
    """A cell that is refused beside them is still named by its line of the file."""
    project = rents(content=csv("40,1,gas,,", *LINES, "4,1,gas,,1"))
    ingest.run(project)
    with pytest.raises(RowsRefused, match="2 values refused(?s:.*)`missing_target: drop`"):
        validate.run(project)
    project.contract.write_text(
        CONTRACT_TEXT.replace("target:\n", "missing_target: drop\ntarget:\n")
    )
    with pytest.raises(RowsRefused, match=r"1 value refused\n  row 11, column 'area'"):
        validate.run(project)
    source(project).write_bytes(csv(",1,gas,,", "40,1,gas,,", *LINES))
    ingest.run(project)
    assert validate.run(project).endswith("; 2 rows without a target dropped")
    assert len(pd.read_parquet(project.validated)) == len(LINES)
    source(project).write_bytes(csv("40,1,gas,,"))
    ingest.run(project)
    with pytest.raises(DataError, match="no row has a value of the target 'rent'"):
        validate.run(project)


def test_dates_booleans_and_ignored_columns_come_through(rents: MakeProject) -> None:
    """The validated file holds days and booleans; a model gets days and codes."""
    lines = [f"{line},2020-01-31 08:00,TRUE,secret" for line in LINES[:4]]
    lines += [f"{line},,0,secret" for line in LINES[4:]]
    text = TYPES_TEXT.replace("target:\n", "ignore: [note, gone]\ntarget:\n")
    project = rents(text, csv(*lines, header=f"{HEADER},sold,lift,note"))
    run_all(project)
    assert b"secret" not in project.raw.read_bytes()
    frame = pd.read_parquet(project.validated)
    assert frame["sold"].fillna("none").tolist() == ["2020-01-31"] * 4 + ["none"] * 4
    assert frame["lift"].tolist() == [True] * 4 + [False] * 4
    features, _ = encode(parse(text), frame)
    np.testing.assert_equal(features[[0, 4], 4:], [[30, 1], [np.nan, 0]])


def test_a_stage_on_rows_of_an_earlier_contract_says_which_to_run(validated: Project) -> None:
    text = validated.contract.read_text()
    validated.contract.write_text(text.replace("name: balcony", "name: terrace"))
    with pytest.raises(DataError, match="earlier contract(?s:.*)Run `mlref validate` first"):
        split.run(validated)
    validated.contract.write_text(text.replace("valid: [0, 20000]", "valid: [600, 20000]"))
    with pytest.raises(RowsRefused, match="Run `mlref validate` first"):
        split.run(validated)
