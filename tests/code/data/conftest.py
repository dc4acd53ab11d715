"""A project whose source is a file that the test writes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mlref.core.storage import Project
from mlref.data import ingest, split, validate
from tests.fakes import CONTRACT_TEXT
from tests.projects import copy, write_project

OUTPUTS = ("raw", "validated", "validation", "train", "holdout", "profile")
"""What the three stages of data write."""

HEADER = "area,rooms,heating,balcony,rent"
LINES = (
    "70.5,3,oil,4,900",
    "20,1,gas,,400",
    "120,5.0,wood,0,1500",
    "55,2,gas,12.5,700",
    "90,4,oil,,1100",
    "35,1,wood,3,450",
    "150,6,gas,20,2100",
    "64,2,oil,,800",
)
MakeProject = Callable[..., Project]


def csv(*lines: str, header: str = HEADER) -> bytes:
    """A CSV file."""
    return "".join(f"{line}\n" for line in (header, *lines)).encode()


def source(project: Project) -> Path:
    """The file that the contract of rents names."""
    return project.root / "data" / "source" / "rents.csv"


def make_project(
    root: Path, contract: str = CONTRACT_TEXT, content: bytes | None = None
) -> Project:
    """Contract, settings and source; nothing is run."""
    project = write_project(root, contract)
    source(project).write_bytes(csv(*LINES) if content is None else content)
    return project


def run_all(project: Project) -> None:
    """The three stages of data."""
    for stage in (ingest, validate, split):
        stage.run(project)


def contents(project: Project) -> dict[str, bytes]:
    """Bytes of what the stages wrote."""
    paths = {name: getattr(project, name) for name in OUTPUTS}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


@pytest.fixture
def rents(tmp_path: Path) -> MakeProject:
    """Makes a project of rents: contract and content of the source may be given."""
    return lambda *given, **named: make_project(tmp_path / "clone", *given, **named)


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of rents after the three stages; not to be changed."""
    project = make_project(tmp_path_factory.mktemp("sound"))
    run_all(project)
    return project


@pytest.fixture
def validated(sound: Project, tmp_path: Path) -> Project:
    """A project of rents after the three stages, to change."""
    return copy(sound, tmp_path / "validated")
