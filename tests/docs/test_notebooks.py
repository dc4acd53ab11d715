"""The notebooks show what they print, define nothing, and run on other data unchanged."""

import ast
import copy
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output
from tools.run_notebooks import execute, text

from mlref.core.contract import load
from mlref.core.storage import Project
from tests.data.test_contract_is_the_only_place import named
from tests.projects import RENTS_TEXT, run_data, run_model, write_project
from tests.system.conftest import ROOT, environment

NOTEBOOKS = ["01-explore.ipynb", "02-read-the-results.ipynb"]
LARGEST = 400_000
"""Bytes of a notebook with its outputs; a code host shows no large ones."""

MACHINE = re.compile(r"site-packages|(?<!\w)/(home|root|tmp|Users|work)\b")
REFRESH = "Run `make train`, then `python tools/run_notebooks.py`, and commit what it writes."


def committed(name: str) -> NotebookNode:
    """A notebook of the repository."""
    return nbformat.read(ROOT / "notebooks" / name, as_version=4)


def code(notebook: NotebookNode) -> Iterator[str]:
    """The sources of its code cells."""
    return (cell.source for cell in notebook.cells if cell.cell_type == "code")


def shown(notebook: NotebookNode) -> dict[str, list[dict[str, str]]]:
    """What each cell shows: text as it is, of a picture only that it is there."""
    return {
        cell.id: [
            {kind: "" if kind.startswith("image/") else content for kind, content in parts.items()}
            for output in cell.outputs
            for parts in [output.get("data") or {output.name: output.text}]
        ]
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


def check_fresh(stored: NotebookNode, executed: NotebookNode) -> None:
    """Refuse a notebook whose stored outputs are not those of its execution."""
    assert shown(stored) == shown(executed), f"The outputs are stale. {REFRESH}"


def definitions(source: str) -> list[str]:
    """The functions and classes that code defines, by kind."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    return [type(node).__name__ for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]


def test_these_are_all_notebooks() -> None:
    """A new one is tested too."""
    assert sorted(path.name for path in ROOT.glob("notebooks/*")) == NOTEBOOKS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_stored_as_the_tool_writes_it(name: str) -> None:
    """No times, versions or editor's marks; small; every cell executed once, from top to bottom."""
    stored = (ROOT / "notebooks" / name).read_text(encoding="utf-8")
    assert stored == text(committed(name)), REFRESH
    assert len(stored.encode()) < LARGEST
    counts = [cell.execution_count for cell in committed(name).cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), REFRESH


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_shows_no_path_of_a_machine(name: str) -> None:
    """Neither of the one that executed it nor of its packages."""
    assert not MACHINE.search(str(shown(committed(name))))


def test_a_path_of_a_machine_is_seen() -> None:
    """A unit with a slash is none."""
    assert MACHINE.search("/home/ada/mlref/notebooks") and MACHINE.search("'/tmp/x.py:1: old'")
    assert not MACHINE.search("mg/dL, data/split/train.parquet")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_defines_nothing_and_names_no_column(name: str) -> None:
    """It calls mlref, and asks the contract."""
    contract = load(ROOT / "config" / "dataset.yaml")
    for source in code(committed(name)):
        assert definitions(source) == []
        assert named(source, contract) == []


@pytest.mark.parametrize(
    "source", ["def f(): ...", "async def f(): ...", "class A: ...", "lambda: 1"]
)
def test_a_definition_is_seen(source: str) -> None:
    """At any depth."""
    assert definitions(f"if True:\n    {source}") != []


STALE = {
    "other text": lambda cell: cell.outputs[0].update(text="2\n"),
    "a table's cell": lambda cell: cell.outputs[1].data.update({"text/html": "<b>2</b>"}),
    "no picture": lambda cell: cell.outputs[1].data.pop("image/png"),
    "no output": lambda cell: cell.outputs.pop(),
    "another cell": lambda cell: cell.update(id="other"),
}


@pytest.mark.parametrize("change", STALE.values(), ids=STALE)
def test_a_stale_output_is_refused(change: Callable[[NotebookNode], object]) -> None:
    """With the command that mends it; another picture is no reason."""
    outputs = [
        new_output("stream", name="stdout", text="1\n"),
        new_output("execute_result", data={"text/html": "<b>1</b>", "image/png": "AAAA"}),
    ]
    stored = new_notebook(cells=[new_code_cell("1", id="cell", outputs=outputs)])
    executed = copy.deepcopy(stored)
    executed.cells[0].outputs[1].data["image/png"] = "BBBB"
    check_fresh(stored, executed)
    change(executed.cells[0])
    with pytest.raises(AssertionError, match="python tools/run_notebooks.py"):
        check_fresh(stored, executed)


def write(folder: Path, source: str) -> Path:
    """Write a notebook of one cell."""
    path = folder / "00-planted.ipynb"
    path.write_text(text(new_notebook(cells=[new_code_cell(source, id="planted")])))
    return path


@pytest.mark.docs
@pytest.mark.parametrize(
    "source, refusal",
    [
        ("1 / 0", "division by zero"),
        ("import warnings; warnings.warn('old')", "00-planted.ipynb, cell planted:\n.*old"),
    ],
)
def test_a_notebook_that_raises_or_warns_is_refused(
    source: str, refusal: str, tmp_path: Path
) -> None:
    """What it said is in the message."""
    with pytest.raises((CellExecutionError, RuntimeError), match=f"(?s){refusal}"):
        execute(write(tmp_path, source), tmp_path)


def refresh(clone: Path) -> subprocess.CompletedProcess[str]:
    """Run the tool in a clone."""
    command = [sys.executable, "tools/run_notebooks.py"]
    return subprocess.run(
        command, cwd=clone, env=environment(clone), capture_output=True, text=True
    )


@pytest.mark.docs
def test_the_tool_stops_at_a_notebook_that_raises(trained: Path) -> None:
    """Exit code 1, what was raised, and nothing is written."""
    path = write(trained / "notebooks", "1 / 0")
    before = path.read_text()
    done = refresh(trained)
    assert (done.returncode, done.stdout, path.read_text()) == (1, "", before)
    assert "ZeroDivisionError" in done.stderr and "tools/run_notebooks.py" not in done.stderr


@pytest.mark.docs
def test_the_tool_asks_for_a_trained_clone(fresh: Path) -> None:
    """One sentence with the command that makes it one."""
    done = refresh(fresh)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "make train" in done.stderr


@pytest.fixture(scope="module")
def executed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained clone after the tool has run in it."""
    clone = tmp_path_factory.mktemp("executed") / "clone"
    shutil.copytree(template, clone, symlinks=True)
    done = refresh(clone)
    assert done.returncode == 0, done.stderr
    return clone


@pytest.mark.docs
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_stored_outputs_are_those_of_a_trained_clone(name: str, executed: Path) -> None:
    """Text and tables byte for byte; pictures only have to be there."""
    again = nbformat.read(executed / "notebooks" / name, as_version=4)
    check_fresh(committed(name), again)
    assert any("image/png" in parts for parts in sum(shown(again).values(), []))


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Another dataset after the stages: from a file, with text categories and nulls, without a verdict."""
    project = write_project(tmp_path_factory.mktemp("fork"), RENTS_TEXT)
    run_data(project)
    run_model(project)
    return project


@pytest.mark.docs
@pytest.mark.parametrize(
    "name, left_out",
    [*zip(NOTEBOOKS, ["no scaled copy", "no verdict yet"], strict=True)],
)
def test_a_notebook_runs_on_other_data_unchanged(name: str, left_out: str, fork: Project) -> None:
    """It speaks of that data alone, and says what does not apply to it."""
    said = str(shown(execute(ROOT / "notebooks" / name, fork.root)))
    assert load(fork.contract).title in said and left_out in said
    ours = load(ROOT / "config" / "dataset.yaml")
    assert not any(word in said for word in (ours.title, ours.target.title, ours.name))
