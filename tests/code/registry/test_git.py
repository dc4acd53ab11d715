"""The commit of a model: recorded, or its absence said."""

import subprocess
from pathlib import Path

import pytest

from mlref.core.errors import MlrefError
from mlref.core.storage import Project
from mlref.registry import git


@pytest.fixture
def clone(tmp_path: Path) -> Project:
    """A repository with one commit and a tag."""
    (tmp_path / "file").write_text("content")
    user = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    for words in (
        ["init", "-q"],
        ["add", "file"],
        [*user, "commit", "-qm", "first"],
        ["tag", "v1"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return Project(tmp_path)


@pytest.mark.parametrize(("content", "mark"), [("content", ""), ("changed", git.DIRTY)])
def test_a_commit_carries_a_mark_when_files_differ_from_it(
    clone: Project, content: str, mark: str
) -> None:
    (clone.root / "file").write_text(content)
    head = git.git(clone.root, "rev-parse", "HEAD").stdout.strip()
    assert git.commit(clone) == (head + mark, "")
    warning = git.warning({"commit": head + mark})
    assert bool(warning) == bool(mark) and (not mark or head[:12] in warning)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("refuses", "dubious ownership"),
        ("missing", "`git` cannot be started"),
        ("none", "repository"),
    ],
)
def test_git_that_names_no_commit_is_said_to(
    clone: Project, fault: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = clone
    if fault == "refuses":
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    elif fault == "missing":
        monkeypatch.setenv("PATH", str(clone.root))
    else:
        project = Project(clone.root.parent / "archive")
        project.root.mkdir()
    commit, why = git.commit(project)
    assert commit is None and reason in why
    assert why in git.warning({"commit": None, "commit_unknown": why})


def test_an_unpacked_archive_is_refused_with_the_commands_that_help(
    clone: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    git.check_repository(clone)
    git.check_repository(Project(clone.root / "below"))
    with pytest.raises(MlrefError, match="git init && git add --all && git commit"):
        git.check_repository(Project(tmp_path_factory.mktemp("archive")))


def test_a_record_of_an_earlier_mlref_says_that_it_has_no_commit() -> None:
    assert "registered outside of git" in git.warning({"commit": None})
