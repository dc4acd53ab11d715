"""The generated pages and schemas are those of the code, and the drawn ones name what is there."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from mlref.core.storage import read_json
from tests.system.conftest import ROOT


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the check for stale pages as the hook does."""
    return subprocess.run(
        [sys.executable, "tools/write_reference.py", "--check"],
        cwd=folder, env={"PYTHONPATH": f"{folder}/src"}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages are made from, and the pages."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("config", "docs/reference", "reports", "src", "tools"):
        shutil.copytree(
            ROOT / name, tree / name, ignore=shutil.ignore_patterns("api", "__pycache__")
        )
    shutil.copy(ROOT / "Makefile", tree)
    return tree


def test_the_committed_pages_are_fresh(tree: Path) -> None:
    """So that reading them on the web is reading the code."""
    done = check(tree)
    assert (done.returncode, done.stdout) == (0, "")


STALE = {
    "Makefile": ("## Print this list", "## Print that list", "make.md"),
    "src/mlref/cli.py": ("Running it twice changes", "Twice changes", "command-line.md"),
    "src/mlref/core/contract.py": ("Name for people:", "A name for people:", "dataset.schema.json"),
    "src/mlref/core/errors.py": ("Remedy: follow", "Remedy: read", "errors.md"),
    "src/mlref/core/settings.py": ("Decides the folds,", "Chooses folds.", "params.md"),
    "reports/metrics.json": ('"promised": 0.9', '"promised": 0.8', "model-card.md"),
    "reports/profile.json": ('"null_share": 0.0', '"null_share": 0.5', "datasheet.md"),
}
if importlib.util.find_spec("mlref.serving"):
    STALE["config/dataset.yaml"] = ("valid: [0, 120]", "valid: [0, 130]", "http-api.md")


@pytest.mark.parametrize("name", STALE)
def test_a_page_that_its_source_left_behind_is_named(name: str, tree: Path) -> None:
    """With the command that mends it."""
    old, new, page = STALE[name]
    source = tree / name
    text = source.read_text(encoding="utf-8")
    assert old in text
    source.write_text(text.replace(old, new), encoding="utf-8")
    try:
        done = check(tree)
    finally:
        source.write_text(text, encoding="utf-8")
    assert done.returncode == 1
    assert f"{page} is stale: run `make reference`." in done.stdout


MISTAKES = [
    ("dataset", "task", "classification"),
    ("dataset", "features", []),
    ("dataset", "sources", {}),
    ("params", "split", {"seed": 40, "holdout": 0.9}),
    ("params", "tune", {}),
]


@pytest.mark.parametrize("name", ["dataset", "params"])
def test_an_editor_accepts_the_configuration(name: str) -> None:
    """By the schema that the first line of the file names."""
    text = (ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith(f"# yaml-language-server: $schema={name}.schema.json\n")
    schema = read_json(ROOT / "config" / f"{name}.schema.json")
    Draft202012Validator.check_schema(schema)
    assert list(Draft202012Validator(schema).iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize("name, key, value", MISTAKES)
def test_an_editor_marks_a_mistake(name: str, key: str, value: object) -> None:
    """Before any command is run."""
    document = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8"))
    schema = read_json(ROOT / "config" / f"{name}.schema.json")
    assert list(Draft202012Validator(schema).iter_errors({**document, key: value}))


def test_the_picture_of_the_layers_is_that_of_the_import_linter() -> None:
    """Names and order."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    declared = re.findall(r"\w+", " ".join(layers))
    drawn = re.findall(
        r'class="n" x="(?:56|276)"[^>]*>(\w+)<', (ROOT / "docs/explanation/layers.svg").read_text()
    )
    present = [name for name in declared if list(ROOT.glob(f"src/mlref/{name}*"))]
    assert [name for name in drawn if name in present] == present
