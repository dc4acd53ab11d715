"""What `make train` runs: the stages that are out of date, then the registration."""

import os
import subprocess
import tempfile
from pathlib import Path

import yaml

from mlref.errors import EXIT_CODE_NOTE, EnvironmentFault, PipelineFailed
from mlref.storage import Project

NOTHING_TO_DO = 3
"""Seconds in which DVC has found that all stages are up to date."""


def run(project: Project, quiet: bool = False) -> str:
    """Run `dvc repro`, then register; returns the summary.

    The stages keep one core busy for many seconds. Meanwhile this process imports on another what a new
    model will need, which is most of the time that registering takes.

    Raises
    ------
    PipelineFailed
        When a stage failed; it has said why.
    """
    _drop_torn_lock(project)
    command = ["dvc", "repro", *(["--quiet"] if quiet else [])]
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "exit_code"  # DVC has its own for every failure
        try:
            stages = subprocess.Popen(
                command, cwd=project.root, env=os.environ | {EXIT_CODE_NOTE: str(note)}
            )
        except OSError as error:
            raise EnvironmentFault("`dvc repro` cannot be started", error) from error
        from mlref.registry import register  # while DVC looks for something to do

        with stages:
            try:
                code = stages.wait(NOTHING_TO_DO)
            except subprocess.TimeoutExpired:
                register.warm_up(project)
                code = stages.wait()
        if code:
            raise PipelineFailed(int(note.read_text()) if note.is_file() else 1)
    return register.run(project)


def _drop_torn_lock(project: Project) -> None:
    """Delete a dvc.lock that a kill left empty or cut off: DVC 3.67 writes it in place.

    Nothing is lost: the stages are deterministic, and DVC has their outputs in its cache.
    """
    try:
        content = yaml.load(project.lock.read_bytes(), yaml.CSafeLoader)
    except FileNotFoundError:
        return
    except yaml.YAMLError:
        content = None
    if not isinstance(content, dict) or "stages" not in content:
        project.lock.unlink()
