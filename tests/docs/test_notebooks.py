"""The notebooks show what they print, define nothing, and run on other data unchanged."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from tools.run_notebooks import KEPT, execute

from mlref.core.contract import load
from tests.data.test_contract_is_the_only_place import named
from tests.projects import RENTS_TEXT, run_data, run_model, write_project
from tests.system.conftest import ROOT, environment

NOTEBOOKS = sorted(path.name for path in ROOT.glob("notebooks/*"))
MACHINE = re.compile(r"site-packages|(?<!\w)/(home|root|tmp|Users|work)\b")
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def stored(name: str) -> NotebookNode:
    return nbformat.read(ROOT / "notebooks" / name, as_version=4)


def code(notebook: NotebookNode) -> Iterator[NotebookNode]:
    return (cell for cell in notebook.cells if cell.cell_type == "code")


def shown(notebook: NotebookNode) -> dict[str, list[dict[str, str]]]:
    """What each cell shows: text as it is, of a picture only that it is there."""
    return {
        cell.id: [
            {kind: "" if kind.startswith("image/") else content for kind, content in parts.items()}
            for output in cell.outputs
            for parts in [output.get("data") or {output.name: output.text}]
        ]
        for cell in code(notebook)
    }


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_small_and_shows_nothing_of_a_machine(name: str) -> None:
    notebook = stored(name)
    assert (ROOT / "notebooks" / name).stat().st_size < 500_000
    assert notebook.metadata == KEPT
    assert not MACHINE.search(str(shown(notebook)))
    counts = [cell.execution_count for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "run `make notebooks`"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_defines_nothing_and_names_no_column(name: str) -> None:
    """It calls mlref, and asks the contract."""
    contract = load(ROOT / "config" / "dataset.yaml")
    for cell in code(stored(name)):
        assert not [node for node in ast.walk(ast.parse(cell.source)) if type(node) in DEFINITIONS]
        assert named(cell.source, contract) == []


@pytest.mark.docs
@pytest.mark.parametrize("source", ["1 / 0", "import warnings; warnings.warn('old')"])
def test_a_notebook_that_raises_or_warns_is_refused(source: str, tmp_path: Path) -> None:
    path = tmp_path / "planted.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(source)]), path)
    with pytest.raises((CellExecutionError, RuntimeError), match="division by zero|old"):
        execute(path, tmp_path)


@pytest.fixture(scope="module")
def executed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained clone after `make notebooks`."""
    clone = tmp_path_factory.mktemp("executed") / "clone"
    shutil.copytree(template, clone, symlinks=True)
    command = [sys.executable, "tools/run_notebooks.py"]
    subprocess.run(command, cwd=clone, env=environment(clone), check=True)
    return clone


@pytest.mark.docs
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_stored_outputs_are_those_of_a_trained_clone(name: str, executed: Path) -> None:
    """Text and tables to the letter; pictures only have to be there."""
    again = shown(nbformat.read(executed / "notebooks" / name, as_version=4))
    assert shown(stored(name)) == again, "run `make train` and `make notebooks` in a fresh clone"
    assert "image/png" in str(again)


@pytest.mark.docs
def test_the_notebooks_run_on_other_data_unchanged(tmp_path: Path) -> None:
    """They speak of that data alone, and say what does not apply to it."""
    fork = write_project(tmp_path, RENTS_TEXT)
    run_data(fork)
    run_model(fork)
    ours = load(ROOT / "config" / "dataset.yaml")
    for name, left_out in zip(NOTEBOOKS, ["no scaled copy", "no verdict yet"], strict=True):
        said = str(shown(execute(ROOT / "notebooks" / name, fork.root)))
        assert load(fork.contract).title in said and left_out in said
        assert not any(word in said for word in (ours.title, ours.target.title, ours.name))
