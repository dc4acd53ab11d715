"""The small project, registered, and rivals of its model; once a session."""

from pathlib import Path

import pytest

from mlref.core.storage import Project
from tests.projects import RIVALS, Rivals, copy, retrain


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
def unregistered(opened: Project, tmp_path: Path) -> Project:
    """A trained project with an empty MLflow store, to change."""
    return copy(opened, tmp_path / "clone")


@pytest.fixture
def published(registered: Project, tmp_path: Path) -> Project:
    """A registered project, to change."""
    return copy(registered, tmp_path / "clone")
