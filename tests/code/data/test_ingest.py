"""The source is brought in as it is, or refused by name."""

import gzip
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mlref.core.contract import Contract, SklearnSource, parse
from mlref.core.errors import DataError, EnvironmentFault, MlrefError, SettingsError
from mlref.data import ingest
from tests.code.data.conftest import LINES, MakeProject, contents, csv, source
from tests.fakes import CONTRACT, CONTRACT_TEXT

FILE = "{kind: file, path: data/source/rents.csv}"
SQL = '{kind: sql, url_from: CLINIC_URL, query: "SELECT * FROM rents WHERE rent < 1000"}'


def with_source(source: str) -> str:
    """The contract of rents with another source."""
    return CONTRACT_TEXT.replace(FILE, source)


def test_a_csv_file_is_brought_in_neither_validated_nor_changed(rents: MakeProject) -> None:
    content = csv(*LINES, "wrong,007,True,NA,", header="area,rooms,heating,balcony,more")
    project = rents(content=content)
    assert ingest.run(project) == "9 rows × 5 columns → data/raw/dataset.csv"
    assert project.raw.read_bytes() == content


def test_a_parquet_file_keeps_its_digits_and_is_refused_when_truncated(rents: MakeProject) -> None:
    project = rents(with_source("{kind: file, path: data/source/rents.parquet}"))
    path = project.root / "data" / "source" / "rents.parquet"
    frame = pd.DataFrame({"area": [0.1 + 0.2], "heating": ["oil"], "balcony": [None]})
    frame.to_parquet(path)
    ingest.run(project)
    assert project.raw.read_text() == "area,heating,balcony\n0.30000000000000004,oil,\n"
    before = contents(project)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"rents\.parquet: is not a complete Parquet file"):
        ingest.run(project)
    assert contents(project) == before


@pytest.mark.parametrize(
    ("name", "keys", "content"),
    [
        ("rents (1).CSV", "", csv(*LINES)),
        ("rents.csv.gz", "", gzip.compress(csv(*LINES))),
        ("rents.csv", ", encoding: utf-16", csv(*LINES).decode().encode("utf-16")),
        (
            "rents.csv",
            ", separator: ;, decimal: ','",
            csv(*LINES).replace(b",", b";").replace(b".", b","),
        ),
        ("rents.csv", ", missing: [NA, '-']", csv(*LINES).replace(b",,", b",NA,")),
    ],
    ids=["any name", "compressed", "encoding", "separator", "missing"],
)
def test_a_csv_file_is_read_as_the_contract_says(
    rents: MakeProject, name: str, keys: str, content: bytes
) -> None:
    """Whatever its name, compression, separator, decimal sign and encoding: data/raw/ is the same."""
    made = f'{{kind: file, path: "data/source/{name}"{keys}}}'.replace(": ;,", ': ";",')
    project = rents(with_source(made))
    source(project).with_name(name).write_bytes(content)
    ingest.run(project)
    assert project.raw.read_bytes() == csv(*LINES)


def loaded(loader: str, **options: Any) -> pd.DataFrame:
    """A dataset of scikit-learn under the contract of rents."""
    given = SklearnSource(kind="scikit-learn", loader=loader, options=options)
    return ingest.ingest(CONTRACT.model_copy(update={"source": given}), Path())


def test_a_dataset_of_scikit_learn_gets_the_targets_name() -> None:
    frame = loaded("load_diabetes", scaled=False)
    assert (frame.shape, frame.columns[-1]) == ((442, 11), "rent")


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
    with pytest.raises(DataError, match=f"sklearn.datasets.{loader}: cannot be loaded: .*{reason}"):
        loaded(loader, **options)


def test_a_bad_file_is_refused_and_the_earlier_output_stays(rents: MakeProject) -> None:
    """What else is no CSV file stands in test_tables."""
    project = rents()
    ingest.run(project)
    before = contents(project)
    source(project).write_bytes(csv(*LINES, "1,2,oil,3,4,5"))
    with pytest.raises(DataError, match="Expected 5 fields in line 10, saw 6") as refusal:
        ingest.run(project)
    assert str(refusal.value).startswith(f"{source(project)}: ")
    assert contents(project) == before != {}


def test_a_missing_source_is_named_without_wrong_advice(rents: MakeProject) -> None:
    """`make train` does not write it: the user does."""
    project = rents(with_source("{kind: file, path: data/source/other.parquet}"))
    with pytest.raises(DataError, match=r"other\.parquet: there is no such file$"):
        ingest.run(project)
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
    project = rents(with_source(SQL))
    ingest.run(project)
    assert project.raw.read_text() == "area,heating,rent\n70.5,oil,900\n,gas,400\n"


@pytest.mark.parametrize(
    ("query", "refusal", "reason"),
    [
        ("SELECT * FROM rint", EnvironmentFault, "query of CLINIC_URL failed: no such table"),
        ("SELCT 1", EnvironmentFault, 'query of CLINIC_URL failed: near "SELCT": syntax error'),
        ("SELECT * FROM rents WHERE rent < 0", DataError, "query of CLINIC_URL: returned no rows"),
        ("SELECT area, rent, area FROM rents", DataError, "'area' is there twice"),
    ],
)
def test_a_query_that_gives_no_table_is_refused(
    clinic: Contract, query: str, refusal: type[MlrefError], reason: str
) -> None:
    """Without the URL, which may hold a password."""
    changed = clinic.source.model_copy(update={"query": query})
    with pytest.raises(refusal, match=reason) as refused:
        ingest.ingest(clinic.model_copy(update={"source": changed}), Path())
    assert "sqlite" not in str(refused.value)


NO_DRIVER = "postgresql+nodriver://u:secret@h/d"  # pragma: allowlist secret


@pytest.mark.parametrize("url", ["", NO_DRIVER])
def test_a_wrong_url_is_refused_without_showing_it(
    clinic: Contract, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("CLINIC_URL", url)
    with pytest.raises(MlrefError, match="CLINIC_URL") as refused:
        ingest.ingest(clinic, Path())
    assert isinstance(refused.value, SettingsError) == (not url)
    assert "secret" not in str(refused.value)
