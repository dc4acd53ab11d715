"""The small project, registered, and rivals of its model; once a session."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mlref.core.storage import Project
from tests.conftest import made_once
from tests.projects import RIVALS, Rivals, copy, retrain


@pytest.fixture(scope="session")
def rivals(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Rivals:
    """The same project with better, tied and worse models; not to be changed."""

    def make(folder: Path, candidates: dict[str, Any]) -> None:
        retrain(copy(trained, folder), **candidates)

    return {
        name: Project(made_once(tmp_path_factory, name, partial(make, candidates=candidates)))
        for name, candidates in RIVALS.items()
    }


@pytest.fixture(scope="session")
def opened(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The trained project with an MLflow store without runs; not to be changed."""

    def make(folder: Path) -> None:
        from mlref.tracking.store import open_store

        with open_store(copy(trained, folder)):
            pass

    return Project(made_once(tmp_path_factory, "opened", make))


@pytest.fixture(scope="session")
def registered(opened: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The trained project after `mlref register`; not to be changed."""

    def make(folder: Path) -> None:
        from mlref.registry import register

        register.run(copy(opened, folder))

    return Project(made_once(tmp_path_factory, "registered", make))


@pytest.fixture
def unregistered(opened: Project, tmp_path: Path) -> Project:
    """A trained project with an empty MLflow store, to change."""
    return copy(opened, tmp_path / "clone")


@pytest.fixture
def published(registered: Project, tmp_path: Path) -> Project:
    """A registered project, to change."""
    return copy(registered, tmp_path / "clone")
