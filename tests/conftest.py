"""What holds for every test, and one small project that is trained once a session."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from mlref.core.storage import Project

# The same examples on every machine, without a clock.
settings.register_profile("ci", derandomize=True, deadline=None, database=None)
settings.load_profile("ci")

# As in ``mlref.cli.main``: what the libraries' imports leave behind is not searched for garbage all the time.
gc.set_threshold(100_000)


def pytest_collection_finish() -> None:
    """Nor at the end, when pytest looks five times for what tests have left open."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def plain_environment() -> Iterator[None]:
    """No variable of the developer's shell reaches a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [*os.environ]:
            if name.startswith(("MLREF_", "MLFLOW_TRACKING", "MLFLOW_REGISTRY")):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def trained(plain_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after all stages, with one picture that is none; not to be changed."""
    from tests.projects import run_data, run_model, write_project  # seconds of imports

    project = write_project(tmp_path_factory.mktemp("trained"))
    run_data(project)
    run_model(project)
    project.pictures.mkdir()
    (project.pictures / "predicted_vs_actual.png").touch()
    return project


@pytest.fixture
def project(trained: Project, tmp_path: Path) -> Project:
    """A trained project to change."""
    from tests.projects import copy

    return copy(trained, tmp_path / "clone")
