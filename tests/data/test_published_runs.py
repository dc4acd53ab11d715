"""What is true of this data alone: its published runs are reproduced to the last digit.

A fork deletes this file together with examples/published_runs.py and config/published_runs.yaml.
"""

import runpy
import shutil
from pathlib import Path

import pytest
import yaml

from mlref.core import settings
from mlref.core.contract import load, parse
from mlref.core.storage import Project
from mlref.data import tables
from mlref.data.ingest import ingest
from mlref.data.validate import check_leakage
from mlref.tracking import runs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The repository's configuration, with an MLflow store of its own."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


def run() -> int:
    """Run the example in the present folder; its exit code."""
    return int(runpy.run_path(str(ROOT / "examples" / "published_runs.py"))["main"]())


def test_every_published_figure_is_reproduced_and_logged_once_and_another_digit_is_exit_code_1(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """One other digit in the figures, and one that comes of other data."""
    assert run() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "36 of 36 figures agree"
    text = project.published_runs.read_text()
    for old, new in (("mae: 66.44", "mae: 66.45"), ("floor(3 * bp + 0.5) / 3", "bp")):
        assert old in text
        text = text.replace(old, new)
    project.published_runs.write_text(text)
    assert run() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "34 of 36 figures agree"
    logged = runs.search(project, "diabetes-published")
    assert len(logged) == logged["tags.mlflow.runName"].nunique() == 12
    assert logged["metrics.rmse"].notna().all()


def test_the_restored_values_are_those_of_today_with_more_digits(project: Project) -> None:
    published = yaml.safe_load(project.published_runs.read_text())
    about = yaml.safe_load(project.contract.read_text()) | {"source": published["source"]}
    rows = ingest(parse(yaml.safe_dump(about)), project.root)
    assert set(rows) == {column.name for column in load(project.contract).columns}
    for (name, formula), decimals in zip(published["restored"].items(), (2, 4), strict=True):
        restored = rows.eval(formula)
        assert (restored.round(decimals) - rows[name]).abs().max() < 1e-9
        assert (restored != rows[name]).any()


def test_these_data_are_stricter_than_a_fork_has_to_be(project: Project) -> None:
    """No value is unusual, no feature is nearly a copy of the target, and there is something to keep."""
    contract = load(project.contract)
    frame = tables.decode(ingest(contract, project.root), contract.columns)
    found = tables.validate(contract, frame)
    assert (found.refused, found.unusual) == ([], [])
    limit = settings.load(project.params).validate_.max_correlation
    check_leakage(contract, frame, limit - 0.1)
    assert contract.promises and contract.slices
