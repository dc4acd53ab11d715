"""dvc.yaml, the command line and the modules' imports agree.

DVC runs a stage again when a file in its ``deps`` has changed. An import that is not listed would
let a change of code pass without a run.
"""

import copy
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from mlref.cli import STAGES

ROOT = Path(__file__).parents[2]
CONTRACT, PARAMS, LOCK = "config/dataset.yaml", "config/params.yaml", "requirements/train.txt"
AFTER_DVC = {"register"}
"""Keys of params.yaml whose verb is no stage of DVC: it has memory."""

Pipeline = dict[str, Any]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Who imports whom in the package."""
    return grimp.build_graph("mlref", cache_dir=None)


@pytest.fixture
def pipeline() -> Pipeline:
    """The stages of dvc.yaml."""
    stages: Pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return stages


@pytest.fixture(scope="module")
def params() -> Pipeline:
    """The knobs."""
    knobs: Pipeline = yaml.safe_load((ROOT / PARAMS).read_text())
    return knobs


def file_of(module: str) -> str:
    """Path of a module from the root, as dvc.yaml writes it."""
    path = f"src/{module.replace('.', '/')}"
    return f"{path}/__init__.py" if (ROOT / path).is_dir() else f"{path}.py"


def imported(graph: grimp.ImportGraph, module: str) -> set[str]:
    """Files of the package that a module needs, itself included."""
    return {file_of(name) for name in {module, *graph.find_upstream_modules(module)}}


def paths(entries: list[Any]) -> set[str]:
    """Paths of deps or outs, which may carry options."""
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


def outs(stage: Pipeline) -> set[str]:
    """Everything that a stage writes for DVC."""
    return {path for key in ("outs", "metrics", "plots") for path in paths(stage.get(key, []))}


def mistakes(pipeline: Pipeline, graph: grimp.ImportGraph, params: Pipeline) -> list[str]:
    """Where dvc.yaml differs from the commands, the imports and the knobs."""
    found = []
    if list(pipeline) != list(STAGES):
        found.append(f"stages: {list(pipeline)} in dvc.yaml, {list(STAGES)} on the command line")
    used: set[str] = set()
    written: set[str] = set()
    for name, stage in pipeline.items():
        deps = paths(stage["deps"])
        if stage["cmd"] != f"mlref {name}":
            found.append(f"{name}: runs {stage['cmd']!r}")
        needed = imported(graph, STAGES[name][0]) if name in STAGES else set()
        code = {path for path in deps if path.startswith("src/")}
        found += [f"{name}: lacks {path}" for path in sorted((needed | {CONTRACT, LOCK}) - deps)]
        found += [f"{name}: {path} is not imported" for path in sorted(code - needed)]
        data = {path for path in deps - code if path.split("/")[0] in ("data", "models", "reports")}
        found += [
            f"{name}: nothing before it writes {path}"
            for path in sorted(data - written - {"data/source"})
        ]
        knobs = [knob for entry in stage.get("params", []) for knob in entry[PARAMS]]
        found += [f"{name}: no knob {knob}" for knob in knobs if knob not in params]
        found += [f"{name}: reads the knobs of {knob}" for knob in knobs if knob != name]
        found += [f"{name}: {path} is written twice" for path in sorted(outs(stage) & written)]
        used |= set(knobs)
        written |= outs(stage)
    found += [f"{key}: no stage reads it" for key in params if key not in used | AFTER_DVC]
    return found


def test_the_pipeline_agrees_with_commands_imports_and_knobs(
    pipeline: Pipeline, graph: grimp.ImportGraph, params: Pipeline
) -> None:
    """Stages in order, each with every file that it imports and no other."""
    assert mistakes(pipeline, graph, params) == []


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_has_a_purpose_and_keeps_its_outputs_when_it_fails(
    pipeline: Pipeline, name: str
) -> None:
    """DVC would otherwise delete the outputs before it runs the stage."""
    assert pipeline[name]["desc"]
    for key in ("outs", "metrics"):
        for entry in pipeline[name].get(key, []):
            (options,) = entry.values()
            assert options["persist"] is True, entry


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_every_output_that_it_opens(pipeline: Pipeline, name: str) -> None:
    """Whatever its module's `run` reads of the project is in its deps, whatever it writes in its outs."""
    import ast
    import importlib

    from mlref.storage import Project

    project = Project(ROOT)
    known = {
        attribute: str(path.relative_to(project.root))
        for attribute, path in vars(project).items()
        if isinstance(path, Path)
        and path.is_relative_to(project.root / "data")
        or attribute
        in ("model", "intervals", "bundle", "profile", "tuning", "out_of_fold", "metrics")
    }
    source = importlib.import_module(STAGES[name][0]).__file__
    assert source is not None
    touched = {
        known[node.attr]
        for node in ast.walk(ast.parse(Path(source).read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "project"
        and node.attr in known
    }
    stage = pipeline[name]
    assert touched <= paths(stage["deps"]) | outs(stage)
    listed = (paths(stage["deps"]) | outs(stage)) & set(known.values())
    assert listed <= touched


PLANTS = [
    (lambda p: p["tune"]["deps"].remove("src/mlref/rows.py"), "tune: lacks src/mlref/rows.py"),
    (
        lambda p: p["train"]["deps"].remove("src/mlref/training/candidates.py"),
        "train: lacks src/mlref/training/candidates.py",
    ),
    (lambda p: p["split"]["deps"].remove(CONTRACT), f"split: lacks {CONTRACT}"),
    (lambda p: p["split"]["deps"].remove(LOCK), f"split: lacks {LOCK}"),
    (
        lambda p: p["ingest"]["deps"].append("src/mlref/tracking/store.py"),
        "ingest: src/mlref/tracking/store.py is not imported",
    ),
    (lambda p: p["train"].update(cmd="python train.py"), "train: runs 'python train.py'"),
    (lambda p: p["tune"].update(params=[]), "tune: no stage reads it"),
    (lambda p: p["tune"].update(params=[{PARAMS: ["train"]}]), "tune: reads the knobs of train"),
    (lambda p: p["tune"].update(params=[{PARAMS: ["tnue"]}]), "tune: no knob tnue"),
    (
        lambda p: p["ingest"]["deps"].append("data/split/train.parquet"),
        "ingest: nothing before it writes data/split/train.parquet",
    ),
    (lambda p: p["train"]["outs"].append("data/raw/dataset.csv"), "train: data/raw/dataset.csv is"),
    (lambda p: p.update(ingest=p.pop("ingest")), "stages: ['validate', "),
    (lambda p: p.update(extra=p["split"] | {"outs": []}), "stages: ['ingest', "),
]


@pytest.mark.parametrize(("plant", "sentence"), PLANTS, ids=[row[1] for row in PLANTS])
def test_a_planted_difference_is_named(
    plant: Any, sentence: str, pipeline: Pipeline, graph: grimp.ImportGraph, params: Pipeline
) -> None:
    """So that agreement is more than a check that sees nothing."""
    changed = copy.deepcopy(pipeline)
    plant(changed)
    found = mistakes(changed, graph, params)
    assert any(line.startswith(sentence) for line in found), found


def test_a_new_import_that_is_not_listed_is_named(pipeline: Pipeline, params: Pipeline) -> None:
    """Also one that another module makes on the way."""
    graph = grimp.build_graph("mlref", cache_dir=None)
    graph.add_import(importer="mlref.rows", imported="mlref.tracking.store")
    found = mistakes(pipeline, graph, params)
    assert [f"{name}: lacks src/mlref/tracking/store.py" for name in STAGES] == found
