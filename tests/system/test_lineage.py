"""A registered model is made again from its commit and its data, with the real stages."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.conftest import bundle_digest, environment, git, run

pytestmark = [pytest.mark.load, pytest.mark.xdist_group("quick")]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files; it must be empty at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert [path.name for path in folder.iterdir() if path.name.startswith("mlref")] == []


def test_a_model_is_reproduced_with_the_code_of_its_commit(copied: Path, temporary: Path) -> None:
    """To the byte, although the code here no longer works; nothing in the clone changes."""
    tune = copied / "src" / "mlref" / "training" / "tune.py"
    tune.write_text(f"{tune.read_text()}\nraise RuntimeError('not the code of the commit')\n")
    changed = git(copied, "status", "--porcelain", "--ignored")
    done = run(copied, "mlref", "lineage", "champion", "--verify")
    name = bundle_digest(copied)[:12]
    assert f"verified: reproduced: trained again, it gives the same bundle {name}" in done.stdout
    assert "tune: " in done.stderr and "package: " in done.stderr
    assert git(copied, "status", "--porcelain", "--ignored") == changed


def test_an_interrupt_leaves_nothing_behind(copied: Path, temporary: Path) -> None:
    """Ctrl-C while a stage runs, which gets it too."""
    process = subprocess.Popen(
        # whoever starts the tests in the background of a shell has them ignore the signal
        ["env", "--default-signal=INT", "mlref", "lineage", "champion", "--verify"],
        cwd=copied, env=environment(copied), start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("checked out ")
        assert process.stderr.readline().startswith("validate: ")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == "Stopped.\n"
