"""A registered project whose champion learns online, and a market of rents that changes."""

from pathlib import Path

import pandas as pd
import pytest

from mlref.core.storage import Project
from mlref.online.learn import learn
from mlref.online.propose import propose
from tests.conftest import made_once
from tests.projects import copy, only_what_the_gate_reads, rents, set_params
from tests.traffic import send

ERROR = 60.0
"""Standard deviation of the rents' noise."""


def market(rows: int, seed: int, level: float = 0.0) -> pd.DataFrame:
    """Rents, higher by so many standard deviations of the error."""
    frame = rents(rows, seed)
    return frame.assign(rent=(frame["rent"] + level * ERROR).clip(upper=20_000))


@pytest.fixture
def project(published: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A registered project; a proposal asks for 40 labels."""
    monkeypatch.chdir(published.root)
    set_params(published, retrain={"rows": 40}, register={"slice_margin": 0.5})
    return published


@pytest.fixture(scope="session")
def learned(registered: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same after a change that the learner has seen; not to be changed."""

    def make(folder: Path) -> None:
        project = copy(registered, folder)
        set_params(project, retrain={"rows": 40}, register={"slice_margin": 0.5})
        send(project, market(150, 50))
        send(project, market(350, 51, level=1.2))
        learn(project)

    return Project(made_once(tmp_path_factory, "learned", make))


@pytest.fixture(scope="session")
def proposed(learned: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same after a proposal, whose words are in the file ``said``; not to be changed."""

    def make(folder: Path) -> None:
        project = copy(learned, folder)
        with pytest.MonkeyPatch.context() as patch:
            only_what_the_gate_reads(patch)
            (project.root / "said").write_text(propose(project))

    return Project(made_once(tmp_path_factory, "proposed", make))
