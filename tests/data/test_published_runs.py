"""The published runs on this data are reproduced to the last digit.

A fork deletes this file together with config/published_runs.yaml.
"""

from pathlib import Path

import pytest

from mlref.core.contract import load as load_contract
from mlref.core.storage import Project
from mlref.data.ingest import ingest
from mlref.registry.reproduce import check, load, run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The repository's configuration, with an MLflow store of its own."""
    (tmp_path / "config").symlink_to(ROOT / "config")
    return Project(tmp_path)


def test_every_published_figure_is_reproduced(project: Project) -> None:
    """Twelve runs with three figures each."""
    assert check(run(project)) == "36 of 36 figures agree"


def test_the_restored_values_are_those_of_today_with_more_digits(project: Project) -> None:
    """Rounded as they are shipped now, they are the same."""
    published = load(project)
    contract = load_contract(project.contract)
    rows = ingest(contract.model_copy(update={"source": published.source}), project.root)
    for (name, formula), decimals in zip(published.restored.items(), (2, 4), strict=True):
        restored = rows.eval(formula)
        assert (restored.round(decimals) - rows[name]).abs().max() < 1e-9
        assert (restored != rows[name]).any()
