"""One small project, trained and registered once a session; a test that changes it takes a copy."""

from pathlib import Path

import pytest

from mlref.core.storage import Project
from tests.projects import (
    RIVALS,
    Rivals,
    copy,
    retrain,
    run_data,
    run_model,
    write_project,
)


@pytest.fixture(scope="session")
def trained(plain_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after all stages, with one picture that is none; not to be changed."""
    project = write_project(tmp_path_factory.mktemp("trained"))
    run_data(project)
    run_model(project)
    project.pictures.mkdir()
    (project.pictures / "predicted_vs_actual.png").touch()
    return project


@pytest.fixture(scope="session")
def rivals(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Rivals:
    """The same project with better, tied and worse models; not to be changed."""
    made = {}
    for name, candidates in RIVALS.items():
        made[name] = copy(trained, tmp_path_factory.mktemp("rival") / name)
        retrain(made[name], **candidates)
    return made


@pytest.fixture(scope="session")
def opened(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The trained project with an MLflow store without runs; not to be changed."""
    from mlref.tracking.store import open_store

    project = copy(trained, tmp_path_factory.mktemp("opened") / "clone")
    with open_store(project):
        return project


@pytest.fixture(scope="session")
def registered(opened: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The trained project after `mlref register`; not to be changed."""
    from mlref.registry import register

    project = copy(opened, tmp_path_factory.mktemp("registered") / "clone")
    register.run(project)
    return project


@pytest.fixture
def project(trained: Project, tmp_path: Path) -> Project:
    """A trained project to change."""
    return copy(trained, tmp_path / "clone")


@pytest.fixture
def unregistered(opened: Project, tmp_path: Path) -> Project:
    """A trained project with an empty MLflow store, to change."""
    return copy(opened, tmp_path / "clone")


@pytest.fixture
def published(registered: Project, tmp_path: Path) -> Project:
    """A registered project, to change."""
    return copy(registered, tmp_path / "clone")
