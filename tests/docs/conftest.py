"""Clones in which a page runs as it is written."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import made_once
from tests.system.conftest import ROOT, TRAIN, copy_clone, environment, git, make_clone, run


def reader(clone: Path) -> dict[str, str]:
    """The variables of a reader's shell after `source .venv/bin/activate`."""
    names = {f"GIT_{role}_NAME": "A reader" for role in ("AUTHOR", "COMMITTER")}
    emails = {f"GIT_{role}_EMAIL": "reader@example.org" for role in ("AUTHOR", "COMMITTER")}
    return environment(clone) | names | emails | {"COLUMNS": "100"}


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A clone in which nothing was run yet."""
    return make_clone(tmp_path / "mlref")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone after its first `make train`; where this tree was trained, from DVC's cache."""

    def train(folder: Path) -> None:
        clone = make_clone(folder)
        if (ROOT / ".dvc" / "cache").is_dir():
            shutil.copytree(ROOT / ".dvc" / "cache", clone / ".dvc" / "cache")
        run(clone, *TRAIN)

    return made_once(tmp_path_factory, "trained", train)


@pytest.fixture
def trained(template: Path, tmp_path: Path) -> Path:
    """A copy of the trained clone, with what training changed committed."""
    clone = copy_clone(template, tmp_path / "mlref")
    git(clone, "commit", "--quiet", "--all", "--allow-empty", "--message", "trained")
    return clone
