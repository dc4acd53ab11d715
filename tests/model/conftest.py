"""Models to judge: of the real dataset, trained once through the stages, and of small planted data."""

import shutil
from pathlib import Path

import pytest

from mlref.core.storage import Project
from tests.projects import copy, run_data, run_model, write_project

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def real(plain_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """This repository's dataset and settings after all stages, in a folder of its own."""
    project = Project(tmp_path_factory.mktemp("real"))
    for name in ("config", "data/source"):
        shutil.copytree(ROOT / name, project.root / name)
    run_data(project)
    run_model(project)
    return project


@pytest.fixture(scope="session")
def trained(plain_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project of the rents after all stages; not to be changed."""
    project = write_project(tmp_path_factory.mktemp("trained"))
    run_data(project)
    run_model(project)
    return project


@pytest.fixture
def project(trained: Project, tmp_path: Path) -> Project:
    """The small project, to plant a fault in."""
    return copy(trained, tmp_path / "clone")
