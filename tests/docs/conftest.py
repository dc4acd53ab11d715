"""Clones in which `make` finds its environment ready, so that a page runs as it is written."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.system.conftest import OWN, TRAIN, git, make_clone, run


def ready(clone: Path) -> dict[str, str]:
    """Lend a clone this environment as its .venv; give the variables of a newcomer's shell."""
    (clone / ".venv").mkdir(exist_ok=True)
    for part in ("bin", "lib", "pyvenv.cfg"):
        (clone / ".venv" / part).symlink_to(Path(sys.prefix) / part)
    (clone / ".venv" / ".synced").write_text(f"{clone}\n")  # newer than the lock, of this folder
    plain = {key: value for key, value in os.environ.items() if key not in OWN}
    plain |= {f"GIT_{role}_NAME": "A reader" for role in ("AUTHOR", "COMMITTER")}
    plain |= {f"GIT_{role}_EMAIL": "reader@example.org" for role in ("AUTHOR", "COMMITTER")}
    return plain | {
        "PATH": f"{clone}/.venv/bin{os.pathsep}{plain['PATH']}",
        "PYTHONPATH": str(clone / "src"),  # the clone's own code, not this tree's
        "COLUMNS": "100",
        "PYTHON": "true",  # sets up nothing: a page that changes the lock may not change what is lent
    }


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone after `make train`, committed."""
    clone = make_clone(tmp_path_factory.mktemp("template") / "mlref")
    run(clone, *TRAIN)
    git(clone, "commit", "--quiet", "--all", "--allow-empty", "--message", "trained")
    return clone


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A clone in which nothing was run yet."""
    return make_clone(tmp_path / "mlref")


@pytest.fixture
def trained(template: Path, tmp_path: Path) -> Path:
    """A copy of the trained clone."""
    return Path(shutil.copytree(template, tmp_path / "mlref", symlinks=True))
