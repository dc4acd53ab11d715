"""Registered models, prepared once; a test that changes them takes a copy."""

from pathlib import Path

import pytest

from mlref.core.contract import Contract
from mlref.core.errors import GateBlocked
from mlref.core.storage import Project
from mlref.registry import register
from mlref.tracking.run_log import RunLog
from tests.conftest import made_once
from tests.projects import Rivals, adopt, copy


@pytest.fixture(scope="session")
def three(registered: Project, rivals: Rivals, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Version 1, the champion; version 2, as good; version 3, worse. Not to be changed."""

    def make(folder: Path) -> None:
        project = copy(registered, folder)
        adopt(project, rivals["tied"])
        register.run(project)
        adopt(project, rivals["worse"])
        with pytest.raises(GateBlocked):
            register.run(project)

    return Project(made_once(tmp_path_factory, "three", make))


@pytest.fixture
def project_of_three(three: Project, tmp_path: Path) -> Project:
    """Three registered models, to change."""
    return copy(three, tmp_path / "clone")


@pytest.fixture
def without_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracking store that takes everything and gives each new bundle the next version."""

    def numbered(project: Project, contract: Contract, log: RunLog) -> tuple[str, str]:
        known = [*dict.fromkeys([*log.registered, log.tags["digest"]])]
        return "a run", str(known.index(log.tags["digest"]) + 1)

    monkeypatch.setattr("mlref.registry.publish.publish_log", numbered)
    monkeypatch.setattr(register, "sync_aliases", lambda *_: None)
