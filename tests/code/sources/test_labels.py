"""Labelled rows that people add to the source."""

from pathlib import Path

import pandas as pd
import pytest

from mlref.core.errors import RowsRefused
from mlref.core.storage import Project
from mlref.data import ingest
from mlref.data.tables import read_csv
from mlref.sources.labels import add
from tests.projects import rents

HOME = "area,rooms,heating,balcony,rent\n"


def added(project: Project) -> list[Path]:
    """The files of added rows."""
    return sorted((project.root / "data" / "source" / "labels").glob("*"))


@pytest.fixture
def march(tmp_path: Path) -> Path:
    """A file with two new rows, one that is there, and one that is there twice."""
    fresh = rents(2, seed=99)
    path = tmp_path / "march.csv"
    pd.concat([fresh, rents()[:1], fresh[:1]]).to_csv(path, index=False)
    return path


def test_new_rows_are_added_to_the_source(project: Project, march: Path) -> None:
    """The next run of the pipeline reads them after the others."""
    said = add(project, march)
    (file,) = added(project)
    assert said.startswith("New rows: 2. Already there: 2. Written to data/source/labels/")
    assert f"{project.show(file)}: run `make train`" in said
    assert len(file.stem) == 16
    assert ingest.run(project).startswith("122 rows")
    assert project.raw.read_text().splitlines()[-2:] == file.read_text().splitlines()[-2:]


def test_the_time_of_a_prediction_stays_with_its_row_and_out_of_the_table(
    project: Project, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    rents(2, seed=99).assign(predicted_at="2026-11-01").to_csv(path, index=False)
    add(project, path)
    (file,) = added(project)
    assert file.read_text().count("2026-11-01") == 2
    ingest.run(project)
    assert "predicted_at" not in project.raw.read_text()


def test_adding_the_same_rows_twice_changes_nothing(project: Project, march: Path) -> None:
    """In whatever order and under whatever name."""
    add(project, march)
    before = {file: file.read_bytes() for file in added(project)}
    again = march.with_name("again.csv")
    read_csv(march)[::-1].to_csv(again, index=False)
    assert add(project, again) == "New rows: 0. Already there: 4. Nothing was written."
    assert {file: file.read_bytes() for file in added(project)} == before


def test_a_dry_run_writes_nothing(project: Project, march: Path) -> None:
    """It validates all the same."""
    said = add(project, march, dry_run=True)
    assert said == "New rows: 2. Already there: 2. Nothing was written."
    assert added(project) == []
    march.write_text(f"{HOME}4,3,oil,4,900\n")
    with pytest.raises(RowsRefused, match="row 2, column 'area': got 4"):
        add(project, march, dry_run=True)
