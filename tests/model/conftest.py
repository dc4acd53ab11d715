"""The model of the real dataset, trained once through the stages."""

import shutil
from pathlib import Path

import pytest

from mlref.core.storage import Project
from tests.projects import only_what_the_gate_reads, run_data, run_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def real(plain_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """This repository's dataset and settings after all stages, in a folder of its own."""
    project = Project(tmp_path_factory.mktemp("real"))
    for name in ("config", "data/source"):
        shutil.copytree(ROOT / name, project.root / name)
    run_data(project)
    with pytest.MonkeyPatch.context() as patch:
        only_what_the_gate_reads(patch)
        run_model(project)
    return project
