"""Clones in which a page runs as it is written."""

from pathlib import Path

import pytest

from tests.system.conftest import copy_clone, environment, git, make_clone
from tests.system.conftest import trained as template  # noqa: F401 - one clone for both folders


def reader(clone: Path) -> dict[str, str]:
    """The variables of a reader's shell after `source .venv/bin/activate`."""
    names = {f"GIT_{role}_NAME": "A reader" for role in ("AUTHOR", "COMMITTER")}
    emails = {f"GIT_{role}_EMAIL": "reader@example.org" for role in ("AUTHOR", "COMMITTER")}
    return environment(clone) | names | emails | {"COLUMNS": "100"}


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A clone in which nothing was run yet."""
    return make_clone(tmp_path / "mlref")


@pytest.fixture
def trained(template: Path, tmp_path: Path) -> Path:  # noqa: F811
    """A copy of the trained clone, with what training changed committed."""
    clone = copy_clone(template, tmp_path / "mlref")
    git(clone, "commit", "--quiet", "--all", "--allow-empty", "--message", "trained")
    return clone
