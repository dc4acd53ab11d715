"""Clones of the working tree in temporary folders, and how to run commands in them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mlref.core.storage import digest
from tests.conftest import made_once

ROOT = Path(__file__).parents[2]
OWN = {
    "MLREF_API_KEYS", "MLREF_STORE", "MLREF_MODEL", "MLFLOW_TRACKING_URI",
    "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CI", "BUILD_NUMBER", "COVERAGE_PROCESS_CONFIG",
}  # fmt: skip
"""Variables of the caller's shell, of make or of a build machine that a new user would not have.

Coverage is not measured in clones: it would cost as much again as the commands, for lines that the
other tests reach in this process.
"""

TRAIN = ("make", "train")

FEWER = {
    "tune": {
        "repeats": 1,
        "candidates": {"mean": {}, "single_feature": {}, "ridge": {"alpha": [10.0, 30.0]}},
    },
    "train": {"folds": 5},
    "evaluate": {"resamples": 200},
    "register": {"resamples": 500},
}  # fmt: skip
"""Settings with which a training takes half the time, for tests of what no setting changes."""


def environment(clone: Path) -> dict[str, str]:
    """Lend a clone the packages of this environment, as its .venv; return a newcomer's variables.

    The clone's own code comes first on the path of Python. `make` finds the environment ready, and a
    page that changes the lock must not change what is lent: ``PYTHON=true`` sets up nothing.
    """
    lent = clone / ".venv"
    if (clone / "Makefile").exists():
        lent.mkdir(exist_ok=True)
        for part in ("bin", "lib", "pyvenv.cfg"):
            if not (lent / part).is_symlink():
                (lent / part).symlink_to(Path(sys.prefix) / part)
        (lent / ".synced").write_text(f"{clone}\n")
    plain = {key: value for key, value in os.environ.items() if key not in OWN}
    return plain | {
        "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{plain['PATH']}",
        "PYTHONPATH": str(clone / "src"),
        "PYTHON": "true",
    }


def run(clone: Path, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command in a clone; where it should succeed and does not, show what it said."""
    done = subprocess.run(
        command, cwd=clone, env=environment(clone), capture_output=True, text=True, timeout=900
    )
    assert not check or done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done


def twice(clone: Path, *command: str) -> str:
    """Run a command in two processes at once; one may be refused by a lock. What the other said."""
    both = [
        subprocess.Popen(
            command, cwd=clone, env=environment(clone), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        for _ in range(2)
    ]
    said = {process.communicate(timeout=900)[0]: process.returncode for process in both}
    for text, code in said.items():
        assert code == 0 or "lock" in text.lower(), text
    return next(text for text, code in said.items() if code == 0)


def git(clone: Path, *command: str) -> str:
    """Run git in a clone as a user of its own."""
    identity = ("-c", "user.name=A user", "-c", "user.email=user@example.org")
    return run(clone, "git", *identity, *command).stdout


def commit(clone: Path, message: str) -> None:
    """Commit everything that is not ignored."""
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--no-verify", "--message", message)


def make_clone(folder: Path) -> Path:
    """Copy the working tree as git would clone it, with what is not committed yet."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    commit(folder, "as cloned")
    return folder


def fewer(clone: Path) -> None:
    """Give a clone the settings with which its training is quick."""
    params = clone / "config" / "params.yaml"
    settings = yaml.safe_load(params.read_text())
    for stage, changed in FEWER.items():
        settings[stage] |= changed
    params.write_text(yaml.safe_dump(settings, sort_keys=False))


def bundle_digest(clone: Path) -> str:
    """The digest of the bundle that the stages made."""
    return digest(clone / "models" / "bundle" / "MANIFEST.json")


def copy_clone(clone: Path, folder: Path) -> Path:
    """Copy a clone with all that it holds."""
    return Path(shutil.copytree(clone, folder, symlinks=True))


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained clone with fewer settings, everything committed; a test that changes it takes a copy."""

    def train(folder: Path) -> None:
        clone = make_clone(folder)
        fewer(clone)
        commit(clone, "fewer settings")
        twice(clone, "dvc", "repro")
        commit(clone, "trained")
        (clone.parent / "said.txt").write_text(twice(clone, *TRAIN))

    return made_once(tmp_path_factory, "quick", train)


@pytest.fixture
def copied(quick: Path, tmp_path: Path) -> Path:
    """A copy of the quickly trained clone in another folder."""
    return copy_clone(quick, tmp_path / "mlref")


@pytest.fixture(scope="session")
def open_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a service of the rents answers anybody, without a log."""
    from tests.system.test_service import (  # a fork may have taken the service out
        service,
        variables,
    )

    folder = tmp_path_factory.mktemp("open")
    options = ("--host", "0.0.0.0", "--insecure", "--no-log", "--model", "1")
    with service(variables(folder), *options) as (_, address):
        yield address
    assert not (folder / "log.db").exists()
