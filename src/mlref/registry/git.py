"""Ask git which commit a model is made from; what it cannot answer is said, never passed over."""

import os
import subprocess
import sys
from pathlib import Path

from mlref.core.errors import EnvironmentFault, MlrefError
from mlref.core.storage import Project

DIRTY = "-dirty"
"""What ``git describe`` adds to a commit from which files differ."""


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run git in a folder.

    Raises
    ------
    EnvironmentFault
        When it cannot be started.
    """
    try:
        return subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, timeout=60,
            env=os.environ | {"LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFault("`git` cannot be started", error, then="") from error


def commit(project: Project) -> tuple[str | None, str]:
    """The commit of the clone, with ``-dirty`` when files differ from it; else None and why."""
    try:
        done = git(project.root, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    except EnvironmentFault as error:
        return None, str(error)
    if done.returncode:
        return None, f"git refuses to answer: {' '.join(done.stderr.split())}"
    return done.stdout.strip(), ""


def check_repository(project: Project) -> None:
    """Refuse to register a model whose code nobody could name.

    Raises
    ------
    MlrefError
        In a folder, such as an unpacked archive, that is no git repository.
    """
    if not any((folder / ".git").exists() for folder in (project.root, *project.root.parents)):
        raise MlrefError(
            "This folder is not a git repository, so the code of a model could not be recorded. Make it"
            " one: git init && git add --all && git commit --message 'First commit'"
        )


def warning(record: dict[str, object]) -> str:
    """What is not known about the code of a registered model; empty where its commit is recorded."""
    made_by = record.get("commit")
    if not made_by:
        why = record.get("commit_unknown") or "it was registered outside of git"
        return f"The commit of this model is not recorded: {why}"
    if str(made_by).endswith(DIRTY):
        return (
            f"Files differed from commit {str(made_by)[:12]} when this model was registered. Commit them"
            " and run `make train`: it then records that commit."
        )
    return ""


if __name__ == "__main__":  # before the stages, which DVC would refuse to run for its own reason
    try:
        check_repository(Project.here())
    except MlrefError as refusal:
        sys.exit(f"Error: {refusal}")
