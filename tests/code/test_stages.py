"""dvc.yaml: a stage depends on every folder that it imports from, so that a change of code runs it."""

import re
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from tests.system.conftest import ROOT, make_clone, run

STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("mlref", cache_dir=None)


def room(module: str) -> str:
    """The folder or top-level file of a module, as dvc.yaml names it."""
    name = module.split(".")[1]
    return (
        f"src/mlref/{name}" if (ROOT / "src" / "mlref" / name).is_dir() else f"src/mlref/{name}.py"
    )


SHOWS = "src/mlref/console.py"
"""Shows progress and changes no file."""


def lacking(graph: grimp.ImportGraph, stage: str, deps: list[str]) -> set[str]:
    """Rooms that a stage imports from without depending on them."""
    (module,) = (name for name in graph.modules if name.endswith(f".{stage}"))
    imported = {module, *graph.find_upstream_modules(module)} - {"mlref"}
    return {room(name) for name in imported} - {SHOWS, *deps}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_folders_that_it_imports_from(
    graph: grimp.ImportGraph, stage: str
) -> None:
    deps = STAGES[stage]["deps"]
    assert lacking(graph, stage, deps) == set()
    assert lacking(graph, stage, [dep for dep in deps if dep != "src/mlref/core"]) != set()


def test_commands_and_tools_for_people_are_no_dependency_of_a_stage() -> None:
    """Else a new flag would retrain the model."""
    deps = {dep for stage in STAGES.values() for dep in stage["deps"]}
    assert deps.isdisjoint({"src/mlref/sources", "src/mlref/cli.py", SHOWS, "src"})
    assert "src/mlref/*/commands.py" in (ROOT / ".dvcignore").read_text()


def test_the_committed_lock_is_of_this_tree(tmp_path: Path) -> None:
    """Whoever changes code, settings or data of a stage commits what `make train` then writes."""
    clone = make_clone(tmp_path / "mlref")
    (clone / "data" / "source" / "planted").touch()
    said = run(clone, "dvc", "status").stdout
    assert set(re.findall(r"modified: +(\S+)", said)) == {"data/source"}, f"run make train:\n{said}"
    assert "changed command" not in said
