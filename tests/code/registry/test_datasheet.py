"""The datasheet repeats the contract and the profile of the training rows."""

import pytest

from mlref.core.contract import parse
from mlref.core.settings import Settings, load
from mlref.core.storage import Project, read_json
from mlref.registry.datasheet import datasheet
from mlref.registry.reports import Report
from tests.projects import NULLABLE_TEXT

SOURCE = "{kind: file, path: data/source/rents.csv}"


@pytest.fixture
def knobs(trained: Project) -> Settings:
    """Of the trained project."""
    return load(trained.params)


def sheet(project: Project, text: str, knobs: Settings) -> str:
    """The datasheet of a contract, with the profile of the trained project."""
    profile = Report(read_json(project.profile), "profile.json")
    return datasheet(parse(text), knobs, profile, held_out=30)


def test_rows_and_split_are_counted(trained: Project, knobs: Settings) -> None:
    """As they were made."""
    text = sheet(trained, trained.contract.read_text(), knobs)
    assert "120 rows: 90 to train on, 30 held out." in text
    assert "the seed 4 decides its side" in text and "hold out is 25%" in text
    assert read_json(trained.profile)["data"] in text


def test_a_column_is_declared_and_measured(trained: Project, knobs: Settings) -> None:
    """A number by quantiles, a category by shares, a null by its share."""
    text = sheet(trained, trained.contract.read_text(), knobs)
    columns = read_json(trained.profile)["columns"]
    area, heating = columns["area"]["quantiles"], columns["heating"]["shares"]
    balcony = columns["balcony"]["null_share"]
    accepted = "a number from 5 to 1000 (m²) | 20 to 300 | not declared | no |"
    assert f"| `area` | Area | Living area. | number | {accepted}" in text
    spread = ", ".join(f"{area[share]:.3g}" for share in ("0.0", "0.05", "0.5", "0.95", "1.0"))
    assert f"| `area` | 0.0% | {spread} |" in text
    assert f"gas: {heating['gas']:.1%}, oil: {heating['oil']:.1%}" in text
    assert f"| `balcony` | {balcony:.1%} | " in text
    assert "| one of gas, oil, wood | any of these | not declared | no |" in text
    assert "| a number from 0 to 100 or null | not declared | not declared | no |" in text
    exact = trained.contract.read_text().replace("example: 70.5", "example: 70.5\n    error: 0.25")
    assert "| 20 to 300 | 0.25 | no |" in sheet(trained, exact, knobs)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (SOURCE, "Source: the file `data/source/rents.csv`"),
        ("{kind: scikit-learn, loader: load_diabetes, options: {scaled: false}}",
         "Source: `sklearn.datasets.load_diabetes(scaled=False)`"),
        ('{kind: sql, url_from: RENTS_URL, query: "select *\\nfrom rents"}',
         "Source: the database that `RENTS_URL` names: `select * from rents`"),
    ],
)  # fmt: skip
def test_each_kind_of_source_is_named(
    trained: Project, knobs: Settings, source: str, words: str
) -> None:
    """Without the database's address, which holds a password."""
    assert words in sheet(trained, trained.contract.read_text().replace(SOURCE, source), knobs)


def test_a_column_without_any_value_is_said_to_be_empty(trained: Project, knobs: Settings) -> None:
    """It has neither quantiles nor shares."""
    profile = read_json(trained.profile)
    profile["columns"]["balcony"] = {"null_share": 1.0}
    profile["columns"]["heating"] = {"null_share": 1.0, "shares": {"gas": 0.0}}
    text = datasheet(parse(NULLABLE_TEXT), knobs, Report(profile, "profile.json"), 30)
    assert "| `balcony` | 100.0% | no value |" in text
    assert "| `heating` | 100.0% | no value |" in text


@pytest.mark.parametrize(
    ("text", "named", "sensitive"),
    [
        (NULLABLE_TEXT, "the values of its features", "Sensitive: no column."),
        (NULLABLE_TEXT.replace("target:\n", "identity: [flat, house]\ntarget:\n").replace(
            "example: oil", "example: oil\n    sensitive: true"),
         "A row is named by flat, house;", "Sensitive: Heating."),
    ],
)  # fmt: skip
def test_what_names_a_row_and_what_is_sensitive_is_said(
    trained: Project, knobs: Settings, text: str, named: str, sensitive: str
) -> None:
    """Also where the contract declares nothing."""
    found = sheet(trained, text, knobs)
    assert named in found and sensitive in found
