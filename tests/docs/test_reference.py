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
    """Look for stale pages."""
    return subprocess.run(
        [sys.executable, "tools/write_reference.py", "--check"],
        cwd=folder, env={"PYTHONPATH": f"{folder}/src"}, capture_output=True, text=True,
    )  # fmt: skip


def test_the_committed_pages_are_fresh() -> None:
    done = check(ROOT)
    assert (done.returncode, done.stdout) == (0, "")


STALE = {
    "Makefile": ("## Print this list", "## Print that list", "make.md"),
    "src/mlref/cli.py": ("its whole life", "its life", "command-line.md"),
    "src/mlref/core/contract.py": ("Name for people:", "A name for people:", "dataset.schema.json"),
    "src/mlref/core/errors.py": ("Remedy: ", "Remedy: please, ", "errors.md"),
    "src/mlref/core/settings.py": ("Decides the folds,", "Chooses folds.", "params.md"),
    "reports/metrics.json": ('"promised": 0.9', '"promised": 0.8', "model-card.md"),
    "reports/profile.json": ('"null_share": 0.0', '"null_share": 0.5', "datasheet.md"),
}
if importlib.util.find_spec("mlref.serving"):
    STALE["config/dataset.yaml"] = ("valid: [0, 120]", "valid: [0, 130]", "http-api.md")


def test_each_page_that_its_source_left_behind_is_named(tmp_path: Path) -> None:
    """With the command that mends it."""
    for name in ("config", "docs/reference", "reports", "src", "tools"):
        ignored = shutil.ignore_patterns("api", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name, (old, new, _) in STALE.items():
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert old in text
        (tmp_path / name).write_text(text.replace(old, new), encoding="utf-8")
    done = check(tmp_path)
    assert done.returncode == 1
    for *_, page in STALE.values():
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
    text = (ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith(f"# yaml-language-server: $schema={name}.schema.json\n")
    schema = read_json(ROOT / "config" / f"{name}.schema.json")
    Draft202012Validator.check_schema(schema)
    assert list(Draft202012Validator(schema).iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize("name, key, value", MISTAKES)
def test_an_editor_marks_a_mistake(name: str, key: str, value: object) -> None:
    document = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8"))
    schema = read_json(ROOT / "config" / f"{name}.schema.json")
    assert list(Draft202012Validator(schema).iter_errors({**document, key: value}))


def test_the_picture_of_the_layers_is_that_of_the_import_linter() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    declared = re.findall(r"\w+", " ".join(layers))
    drawn = re.findall(
        r'class="n" x="(?:56|192|276|372)"[^>]*>(\w+)<',
        (ROOT / "docs/explanation/layers.svg").read_text(),
    )
    present = [name for name in declared if list(ROOT.glob(f"src/mlref/{name}*"))]
    assert [name for name in drawn if name in present] == present
