"""Registered models, prepared once a session; a test that changes them takes a copy."""

from pathlib import Path

import pytest

from mlref.core.errors import GateBlocked
from mlref.core.storage import Project
from mlref.registry import register
from tests.projects import Rivals, adopt, copy


@pytest.fixture(scope="session")
def two(registered: Project, rivals: Rivals, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The registered project after a better model, which is version 2; not to be changed."""
    project = copy(registered, tmp_path_factory.mktemp("two") / "clone")
    adopt(project, rivals["better"])
    register.run(project)
    return project


@pytest.fixture(scope="session")
def three(registered: Project, rivals: Rivals, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Version 1, the champion; version 2, as good; version 3, worse. Not to be changed."""
    project = copy(registered, tmp_path_factory.mktemp("three") / "clone")
    adopt(project, rivals["tied"])
    register.run(project)
    adopt(project, rivals["worse"])
    with pytest.raises(GateBlocked):
        register.run(project)
    return project


@pytest.fixture
def project_of_two(two: Project, tmp_path: Path) -> Project:
    """Two registered models, to change."""
    return copy(two, tmp_path / "clone")


@pytest.fixture
def project_of_three(three: Project, tmp_path: Path) -> Project:
    """Three registered models, to change."""
    return copy(three, tmp_path / "clone")
