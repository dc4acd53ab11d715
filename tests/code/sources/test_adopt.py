"""A table is adopted: drafted, answered, filled in, compared."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from mlref.core.contract import load
from mlref.core.errors import ContractError, DataError
from mlref.core.storage import Project
from mlref.sources.adopt import adopt
from mlref.sources.report import page
from mlref.sources.table import Roles
from tests.projects import PARAMS

RENT = Roles("rent", ("flat",))
ANSWERS: dict[str, Any] = {
    "licence": "CC0",
    "use": {"intended": "Tests."},
    "every_column": {"meaning": "As named.", "sensitive": False, "unit": None},
    "columns": {"rent": {"unit": "euro"}, "area": {"unit": "m²", "valid": [5, 1000]}},
}


def homes(rows: int = 200) -> pd.DataFrame:
    """A table with one of everything that adopt has to tell apart."""
    generator = np.random.default_rng(3)
    area = generator.uniform(20, 300, rows).round(1)
    rent = (8 * area + generator.normal(0, 200, rows)).clip(100).round(2)
    return pd.DataFrame({
        "flat": [f"f{n}" for n in range(rows)],
        "area": area,
        "feet": (area * 10.76).round(1),
        "cents": rent * 100,
        "heating": generator.choice(["gas", "oil"], rows),
        "lift": generator.choice([True, False], rows),
        "sold": pd.date_range("2020-01-01", periods=rows).astype(str),
        "same": 1,
        "rent": rent,
    })  # fmt: skip


@pytest.fixture
def clone(tmp_path: Path) -> Project:
    """A clone with settings and no contract."""
    project = Project(tmp_path / "clone")
    project.params.parent.mkdir(parents=True)
    project.params.write_text(yaml.safe_dump(PARAMS))
    return project


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The table in a file."""
    path = tmp_path / "My homes (1).csv"
    homes().to_csv(path, index=False)
    return path


def test_a_draft_asks_only_what_a_person_knows(clone: Project, file: Path) -> None:
    """And the loader refuses each question, with its place, until it is answered."""
    table, said = adopt(clone, file, RENT, {})
    assert (clone.root / "data" / "source" / file.name).read_bytes() == file.read_bytes()
    with pytest.raises(ContractError) as refusal:
        load(clone.contract)
    questions = {line.split(":")[0] for line in refusal.value.mistakes}
    assert {"licence", "use.intended", "target.unit", "features[0] (area).sensitive"} <= questions
    assert said[0] == f"config/dataset.yaml is written; {len(questions)} questions in it are open."
    text = clone.contract.read_text("utf-8")
    assert "# feet: 200 different values; near copy of area" in text or "near copy of area" in text
    assert "# cents: leak? it follows the target with a correlation of 1.000" in text
    assert yaml.safe_load(text)["ignore"] == ["cents", "same"]
    assert {"flat", "cents", "same"} == {name for name, it in table.drafts.items() if it.left_out}


def test_answers_make_it_sound(clone: Project, file: Path) -> None:
    """A person's word wins over what was measured; an ignored column may be asked for."""
    more = {"cents": {"type": "number", "example": 1, "unit": None}}
    answers = ANSWERS | {"columns": ANSWERS["columns"] | more}
    _, said = adopt(clone, file, RENT, answers)
    assert said[0] == "config/dataset.yaml is written; no questions in it are open."
    contract = load(clone.contract)
    assert (contract.name, contract.title) == ("my-homes-1", "My homes (1)")
    assert contract.names == ("area", "feet", "heating", "lift", "sold", "cents")
    assert (contract.identity, contract.ignore) == (("flat",), ("same",))
    types = [column.type for column in contract.features[2:5]]
    assert types == ["category", "boolean", "date"]
    area = contract.features[0]
    assert (area.unit, area.valid, contract.features[1].valid) == ("m²", (5, 1000), None)


@pytest.mark.parametrize(
    ("split", "ignore"),
    [({"by": "group", "column": "flat"}, ()), ({"by": "time", "column": "sold"}, ("flat",))],
)
def test_rows_are_divided_as_a_person_says(
    clone: Project, file: Path, split: dict[str, str], ignore: tuple[str, ...]
) -> None:
    """By a column that is no feature then."""
    adopt(clone, file, Roles("rent", (), split, ignore), ANSWERS)
    contract = load(clone.contract)
    assert contract.split.model_dump() == split
    assert split["column"] not in (*contract.names, *contract.ignore)


def test_a_draft_that_nobody_has_touched_is_made_anew(clone: Project, file: Path) -> None:
    """So answers may come later, also where they win over what was measured."""
    adopt(clone, file, RENT, {})
    adopt(clone, file, RENT, ANSWERS)
    assert load(clone.contract).features[0].valid == (5, 1000)
    assert not clone.contract.with_name("dataset.previous.yaml").exists()


def test_what_a_person_has_filled_in_stays(clone: Project, file: Path) -> None:
    """Comments too: only the open questions of the text change."""
    adopt(clone, file, RENT, {})
    mine = clone.contract.read_text("utf-8").replace("title: Area", "title: Mine # my comment", 1)
    clone.contract.write_text(mine, "utf-8")
    _, said = adopt(clone, file, RENT, ANSWERS | {"title": "Another"})
    assert said[1].endswith("the contract says otherwise: title, columns.area.valid.")
    text = clone.contract.read_text("utf-8")
    assert "title: Mine # my comment" in text
    contract = load(clone.contract)
    assert (contract.title, contract.features[0].unit) == ("My homes (1)", "m²")
    assert contract.features[0].valid is None
    adopt(clone, file, RENT, ANSWERS)
    assert clone.contract.read_text("utf-8") == text


def test_the_contract_of_another_table_is_kept_beside(clone: Project, file: Path) -> None:
    clone.contract.write_text("name: old\n")
    _, said = adopt(clone, file, RENT, {})
    assert "The former contract is config/dataset.previous.yaml." in said
    assert clone.contract.with_name("dataset.previous.yaml").read_text() == "name: old\n"


def test_an_update_says_what_differs_and_changes_nothing(clone: Project, file: Path) -> None:
    with pytest.raises(DataError, match="is not the source of config/dataset.yaml"):
        adopt(clone, file, RENT, {}, update=True)
    adopt(clone, file, RENT, ANSWERS)
    before = clone.contract.read_bytes()
    place = clone.root / "data" / "source" / file.name
    assert adopt(clone, place, RENT, {}, update=True)[1] == [
        "config/dataset.yaml says what the file says."
    ]
    frame = homes().drop(columns="lift").assign(garden=range(200), area=homes()["area"] * 100)
    frame.loc[:20, "heating"] = "wood"
    frame.loc[:20, "feet"] = np.nan
    frame.to_csv(place, index=False)
    _, said = adopt(clone, place, RENT, {}, update=True)
    assert [line.split(":")[0] for line in said] == [
        "garden is new", "area", "feet", "heating", "lift is no longer in the file",
    ]  # fmt: skip
    assert clone.contract.read_bytes() == before


@pytest.mark.parametrize(
    ("roles", "answers", "sentence"),
    [
        (Roles("rant"), {}, "has no column 'rant'. Did you mean 'rent'?"),
        (Roles("rent", ("house",)), {}, "has no column 'house'"),
        (Roles("heating"), {}, "the target 'heating' holds '"),
        (
            Roles("same"),
            {},
            "the target 'same' has 1 different values; a regression predicts a number",
        ),
        (RENT, {"columns": {"are": {}}}, "columns.are: no such column; allowed: rent, area"),
    ],
)
def test_names_that_the_table_does_not_have_are_refused_and_nothing_is_written(
    clone: Project, file: Path, roles: Roles, answers: dict[str, Any], sentence: str
) -> None:
    with pytest.raises((DataError, ContractError)) as refusal:
        adopt(clone, file, roles, answers)
    assert sentence in str(refusal.value)
    assert not clone.contract.exists()


@pytest.mark.parametrize(
    ("name", "content", "source"),
    [
        ("a.csv", homes().to_csv(index=False, sep=";", decimal=",").encode("cp1252"),
         {"separator": ";", "decimal": ","}),
        ("a.csv", homes().replace("gas", "Öl").to_csv(index=False).encode("cp1252"), {"encoding": "cp1252"}),
        ("a.CSV", homes().to_csv(index=False, sep="\t").encode("utf-16"),
         {"encoding": "utf-16", "separator": "\t"}),
        ("a.csv", homes().assign(area=[*homes()["area"][1:], None]).to_csv(index=False, na_rep="NA").encode(),
         {"missing": ["NA"]}),
    ],
)  # fmt: skip
def test_how_a_file_is_written_is_found_out(
    clone: Project, file: Path, name: str, content: bytes, source: dict[str, str]
) -> None:
    path = file.with_name(name)
    path.write_bytes(content)
    table, _ = adopt(clone, path, RENT, ANSWERS)
    load(clone.contract)
    assert table.source == {"kind": "file", "path": f"data/source/{name}", **source}
    assert table.drafts["area"].declared["type"] == "number"


def test_parquet_folders_are_adopted_whole(clone: Project, file: Path) -> None:
    folder = file.with_name("parts")
    homes().to_parquet(folder, partition_cols=["heating"])
    adopt(clone, folder, RENT, ANSWERS)
    assert load(clone.contract).names[-1] == "heating"
    assert (clone.root / "data" / "source" / "parts" / "heating=gas").is_dir()


def test_a_file_of_the_same_name_is_not_overwritten(clone: Project, file: Path) -> None:
    place = clone.root / "data" / "source" / file.name
    place.parent.mkdir(parents=True)
    place.write_text("other\n")
    with pytest.raises(DataError, match="is there already, with another content"):
        adopt(clone, file, RENT, {})
    assert not clone.contract.exists()
    with pytest.raises(DataError, match=r"ends in none of \.csv, \.csv\.gz, \.parquet"):
        adopt(clone, file.rename(file.with_suffix(".xlsx")), RENT, {})


def test_what_a_table_is_too_small_or_too_wide_for_is_said(
    clone: Project, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    frame = homes(60).assign(rent=np.exp(generator.normal(8, 1, 60)))
    frame["city"] = np.repeat([f"city {n}" for n in range(12)], 5)
    frame.loc[:3, "rent"] = np.nan
    frame.to_csv(file, index=False)
    monkeypatch.setattr("mlref.sources.adopt.LARGE", 500)
    _, said = adopt(clone, file, RENT, ANSWERS)
    for words in (
        "million cells are many: `mlref validate` alone takes",
        "4 rows have no target",
        "56 rows are few",
        "columns after encoding",
        "transform: log",
    ):
        assert any(words in line for line in said), said
    assert load(clone.contract).missing_target == "drop"


def test_a_table_without_a_useful_column_is_told_so(clone: Project, file: Path) -> None:
    homes()[["flat", "same", "rent"]].to_csv(file, index=False)
    _, said = adopt(clone, file, RENT, ANSWERS | {"columns": {}})
    assert any(line.startswith("No column is left to predict from") for line in said)
    with pytest.raises(ContractError, match="features: got .*at least one entry"):
        load(clone.contract)


def test_the_report_shows_each_column_and_loads_nothing(clone: Project, file: Path) -> None:
    table, said = adopt(clone, file, RENT, ANSWERS)
    html = page(table, [*said, "<script>"])
    for name in homes().drop(columns="rent"):
        assert f"<code>{name}</code>" in html
    assert html.count("<svg") >= 8
    assert "<script>" not in html
    assert "http" not in html.replace("http-equiv", "")
