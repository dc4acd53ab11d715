"""The source is brought in as it is, or refused by name."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mlref.core.contract import Contract, SklearnSource, parse
from mlref.core.errors import DataError, EnvironmentFault, MlrefError, SettingsError
from mlref.core.storage import Project
from mlref.data import ingest
from mlref.data.tables import read_csv
from tests.code.data.conftest import LINES, contents, csv
from tests.fakes import CONTRACT, CONTRACT_TEXT

MakeProject = Callable[..., Project]
FILE = "{kind: file, path: data/source/rents.csv}"
SQL = '{kind: sql, url_from: CLINIC_URL, query: "SELECT * FROM rents WHERE rent < 1000"}'


def with_source(source: str) -> str:
    """The contract of rents with another source."""
    return CONTRACT_TEXT.replace(FILE, source)


def test_a_csv_file_is_brought_in_as_it_is(rents: MakeProject) -> None:
    """Text for text, neither judged nor changed."""
    content = csv(*LINES, "wrong,007,True,NA,", header="area,rooms,heating,balcony,more")
    project = rents(content=content)
    assert ingest.run(project) == "9 rows × 5 columns → data/raw/dataset.csv"
    assert project.raw.read_bytes() == content


def test_a_parquet_file_is_brought_in(rents: MakeProject) -> None:
    """Its numbers keep their digits."""
    project = rents(with_source("{kind: file, path: data/source/rents.parquet}"))
    frame = pd.DataFrame({"area": [0.1 + 0.2], "heating": ["oil"], "balcony": [None]})
    frame.to_parquet(project.root / "data" / "source" / "rents.parquet")
    ingest.run(project)
    assert project.raw.read_text() == "area,heating,balcony\n0.30000000000000004,oil,\n"


def test_a_dataset_of_scikit_learn_gets_the_targets_name() -> None:
    """Which the loader calls by another."""
    options = {"scaled": False}
    source = SklearnSource(kind="scikit-learn", loader="load_diabetes", options=options)
    frame = ingest.ingest(CONTRACT.model_copy(update={"source": source}), Path())
    assert frame.shape == (442, 11)
    assert frame.columns[-1] == "rent"


@pytest.mark.parametrize(
    ("loader", "options", "reason"),
    [
        ("load_moon", {}, "has no attribute 'load_moon'"),
        ("load_diabetes", {"scald": False}, "unexpected keyword argument 'scald'"),
        ("load_diabetes", {"as_frame": False}, "multiple values for keyword argument"),
    ],
)
def test_a_dataset_that_scikit_learn_has_not_is_refused(
    loader: str, options: dict[str, object], reason: str
) -> None:
    """By the loader's name, with the reason."""
    source = SklearnSource(kind="scikit-learn", loader=loader, options=options)
    with pytest.raises(DataError, match=f"sklearn.datasets.{loader}: cannot be loaded: .*{reason}"):
        ingest.ingest(CONTRACT.model_copy(update={"source": source}), Path())


BAD_FILES = [
    pytest.param(b"", "the file is empty", id="empty"),
    pytest.param(csv(), "the file has a header and no rows", id="header only"),
    pytest.param(
        csv(*LINES, "1,2,oil,3,4,5"), "Expected 5 fields in line 10, saw 6", id="ragged row"
    ),
    pytest.param(
        csv(*LINES, "1,1,öl,3,4").decode().encode("latin-1"), "line 10 is not UTF-8", id="latin-1"
    ),
    pytest.param(
        csv(*LINES, header="area,rooms,area,balcony,rent"), "'area' is there twice", id="duplicated"
    ),
    pytest.param(csv("1,2", '"'), "is not a table", id="open quote"),
]


@pytest.mark.parametrize(("content", "problem"), BAD_FILES)
def test_a_bad_file_is_refused_and_the_earlier_output_stays(
    rents: MakeProject, content: bytes, problem: str
) -> None:
    """With the file's name and what is wrong."""
    project = rents()
    ingest.run(project)
    before = contents(project)
    source = project.root / "data" / "source" / "rents.csv"
    source.write_bytes(content)
    with pytest.raises(DataError) as refusal:
        ingest.run(project)
    assert str(refusal.value).startswith(f"{source}: ")
    assert problem in str(refusal.value)
    assert contents(project) == before != {}


def test_a_truncated_parquet_file_is_refused_and_the_earlier_output_stays(
    rents: MakeProject,
) -> None:
    """As a copy that was interrupted leaves it."""
    project = rents(with_source("{kind: file, path: data/source/rents.parquet}"))
    source = project.root / "data" / "source" / "rents.parquet"
    pd.DataFrame({"area": [1.0, 2.0]}).to_parquet(source)
    ingest.run(project)
    before = contents(project)
    source.write_bytes(source.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"rents\.parquet: is not a complete Parquet file"):
        ingest.run(project)
    assert contents(project) == before != {}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_missing_source_is_named_without_wrong_advice(rents: MakeProject, suffix: str) -> None:
    """`make train` does not write it: the user does."""
    project = rents(with_source(f"{{kind: file, path: data/source/other.{suffix}}}"))
    with pytest.raises(DataError, match="there is no such file") as refusal:
        ingest.run(project)
    assert f"data/source/other.{suffix}" in str(refusal.value)
    assert "to write it" not in str(refusal.value)
    assert contents(project) == {}


@pytest.fixture
def clinic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Contract:
    """A database with a table of rents, and the contract that reads it."""
    with sqlite3.connect(tmp_path / "clinic.db") as connection:
        connection.execute("CREATE TABLE rents (area REAL, heating TEXT, rent INTEGER)")
        rows = [(70.5, "oil", 900), (None, "gas", 400), (120.0, "wood", 1500)]
        connection.executemany("INSERT INTO rents VALUES (?, ?, ?)", rows)
    connection.close()
    monkeypatch.setenv("CLINIC_URL", f"sqlite:///{tmp_path}/clinic.db")
    return parse(with_source(SQL))


def test_a_query_is_brought_in(clinic: Contract, rents: MakeProject) -> None:
    """From the database that an environment variable names."""
    project = rents(with_source(SQL))
    ingest.run(project)
    assert read_csv(project.raw)["heating"].tolist() == ["oil", "gas"]
    assert project.raw.read_text() == "area,heating,rent\n70.5,oil,900\n,gas,400\n"


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_variable_is_named(
    clinic: Contract, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """With what it should hold."""
    monkeypatch.delenv("CLINIC_URL")
    if value is not None:
        monkeypatch.setenv("CLINIC_URL", value)
    with pytest.raises(SettingsError, match="CLINIC_URL: is not set; allowed: the URL of"):
        ingest.ingest(clinic, Path())


@pytest.mark.parametrize(
    ("query", "reason"),
    [("SELECT * FROM rint", "no such table: rint"), ("SELCT 1", "syntax error")],
)
def test_a_query_that_fails_is_a_fault_with_the_databases_reason(
    clinic: Contract, query: str, reason: str
) -> None:
    """And without the query's text or the URL, which may hold a password."""
    source = clinic.source.model_copy(update={"query": query})
    with pytest.raises(EnvironmentFault, match=f"query of CLINIC_URL failed: .*{reason}") as fault:
        ingest.ingest(clinic.model_copy(update={"source": source}), Path())
    assert "sqlite" not in str(fault.value)


BAD_URLS = [
    "not a url",
    "nosuchdb://x",
    "postgresql+nodriver://u:secret@h/d",  # pragma: allowlist secret
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_wrong_url_is_refused_without_showing_it(
    clinic: Contract, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """It may hold a password."""
    monkeypatch.setenv("CLINIC_URL", url)
    with pytest.raises(MlrefError, match="CLINIC_URL") as refusal:
        ingest.ingest(clinic, Path())
    assert "secret" not in str(refusal.value)


def test_a_query_without_rows_is_refused(clinic: Contract) -> None:
    """As a file without rows is."""
    source = clinic.source.model_copy(update={"query": "SELECT * FROM rents WHERE rent < 0"})
    with pytest.raises(DataError, match="the query of CLINIC_URL: returned no rows"):
        ingest.ingest(clinic.model_copy(update={"source": source}), Path())


def test_a_query_that_names_a_column_twice_is_refused(clinic: Contract) -> None:
    """A join does that easily."""
    source = clinic.source.model_copy(update={"query": "SELECT area, rent, area FROM rents"})
    with pytest.raises(DataError, match="'area' is there twice"):
        ingest.ingest(clinic.model_copy(update={"source": source}), Path())
