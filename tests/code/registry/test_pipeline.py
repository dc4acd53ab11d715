"""What `make train` runs, around a DVC that only notes how it was called."""

import os
from pathlib import Path

import pytest

from mlref.errors import EnvironmentFault, PipelineFailed
from mlref.registry import pipeline, register
from mlref.storage import Project


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was run, in order; registering is only noted."""
    seen: list[str] = []
    monkeypatch.setattr(register, "warm_up", lambda _: seen.append("warm up"))
    monkeypatch.setattr(register, "run", lambda _: seen.append("register") or "summary")
    return seen


def install_dvc(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a shell script called dvc first in PATH."""
    (folder / "bin").mkdir()
    (folder / "bin" / "dvc").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / "dvc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(("quiet", "said"), [(False, "repro"), (True, "repro --quiet")])
def test_the_stages_run_in_the_clone_and_then_the_model_is_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[str], quiet: bool, said: str
) -> None:
    """Quiet is passed on."""
    install_dvc(tmp_path, monkeypatch, 'echo "$@" > called; pwd >> called')
    assert pipeline.run(Project(tmp_path), quiet) == "summary"
    assert (tmp_path / "called").read_text().splitlines() == [said, str(tmp_path.resolve())]
    assert calls == ["register"]


def test_what_registering_needs_is_imported_while_the_stages_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    """When DVC has more to do than to find that all is up to date."""
    os.mkfifo(tmp_path / "gate")
    install_dvc(tmp_path, monkeypatch, "read line < gate")

    def warm_up(_: Project) -> None:
        calls.append("warm up")
        (tmp_path / "gate").write_text("go on\n")

    monkeypatch.setattr(register, "warm_up", warm_up)
    monkeypatch.setattr(pipeline, "NOTHING_TO_DO", 0)
    pipeline.run(Project(tmp_path))
    assert calls == ["warm up", "register"]


def test_nothing_is_registered_when_a_stage_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    """The stage has said why."""
    install_dvc(tmp_path, monkeypatch, "exit 255")
    with pytest.raises(PipelineFailed, match="nothing was registered"):
        pipeline.run(Project(tmp_path))
    assert calls == []


@pytest.mark.parametrize("code", [1, 4])
def test_the_exit_code_of_the_stage_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[str], code: int
) -> None:
    """DVC ends with 255 whatever it was: a full disk is no mistake of the user's."""
    install_dvc(tmp_path, monkeypatch, f'printf {code} > "$MLREF_EXIT_CODE_NOTE"; exit 255')
    with pytest.raises(PipelineFailed) as failure:
        pipeline.run(Project(tmp_path))
    assert failure.value.exit_code == code


def test_a_machine_without_dvc_is_a_fault_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    """The message names the command."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFault, match="`dvc repro` cannot be started: No such file"):
        pipeline.run(Project(tmp_path))
    assert calls == []


@pytest.mark.parametrize(
    "torn", ["", "schema: '2.0'\n", "schema: '2.0'\nstages:\n  ingest:\n    cmd: [", "\x00"]
)
def test_a_lock_that_a_kill_has_torn_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[str], torn: str
) -> None:
    """DVC would refuse it at every later run."""
    install_dvc(tmp_path, monkeypatch, "test ! -e dvc.lock")
    (tmp_path / "dvc.lock").write_text(torn)
    assert pipeline.run(Project(tmp_path)) == "summary"


def test_a_sound_lock_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    """It is what tells DVC that nothing is to be done."""
    install_dvc(tmp_path, monkeypatch, "test -e dvc.lock")
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    assert pipeline.run(Project(tmp_path)) == "summary"
