"""What the workflows promise beyond their syntax, which actionlint, zizmor and the schema check."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
REQUIRED = {"testing": "test-code", "documentation": "build-docs"}
"""Workflow and job of the checks that branch protection asks for: `testing / test-code`."""
CALLS = re.compile(r"\bmake ([a-z][a-z-]*)|python (tools/\w+\.py)")
HOSTS = re.compile(r"https?://\S+|\b[\w-]+\.io\b")

Texts = dict[str, str]
"""Content by path from the root."""


@pytest.fixture(scope="module")
def texts() -> Texts:
    """The workflows, the actions of this repository, and what they must agree with."""
    paths = [
        *ROOT.glob(".github/workflows/*.yml"),
        *ROOT.glob(".github/actions/*/action.yml"),
        *(ROOT / name for name in ("Makefile", ".ci/run", "pyproject.toml", "dvc.yaml")),
    ]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}


def mistakes(texts: Texts) -> list[str]:
    """Every promise that is not kept."""
    ours = {path: text for path, text in texts.items() if path.startswith(".github/")}
    parsed = [yaml.safe_load(text) for path, text in ours.items() if "/workflows/" in path]
    workflows = {workflow["name"]: workflow for workflow in parsed}
    found = [line for path, text in ours.items() for line in of_a_text(path, text)]
    found += [line for workflow in parsed for line in of_a_workflow(workflow)]
    if missing := of_required_checks(workflows):
        return found + missing
    found += of_gate(workflows["testing"]["jobs"])
    found += of_pythons(workflows["testing"], tomllib.loads(texts["pyproject.toml"])["project"])
    found += of_calls(workflows, texts)
    found += of_paths(workflows["pipeline"], yaml.safe_load(texts["dvc.yaml"]))
    return found


def of_a_text(path: str, text: str) -> list[str]:
    """Actions are pinned to commits with the version beside them; no address is written down."""
    code = re.sub(r"^ *#.*", "", text, flags=re.MULTILINE)
    found = [f"{path}: names the host {host}" for host in HOSTS.findall(code)]
    for action, comment in re.findall(r"\buses: *(\S+)(.*)", text):
        if action.startswith("./"):
            continue
        if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action):
            found.append(f"{path}: {action} is not pinned to a commit")
        if not re.fullmatch(r" # v\d+\.\d+\.\d+", comment):
            found.append(f"{path}: {action} has no version beside it")
    return found


def of_a_workflow(workflow: dict[Any, Any]) -> list[str]:
    """Time limits, no more rights than needed, and no secrets within reach of a stranger's code."""
    name, events = workflow["name"], workflow[True]  # YAML 1.1 reads the key `on` as true
    found = []
    if "pull_request_target" in events:
        found.append(f"{name}: runs on pull_request_target")
    if workflow.get("permissions") != {}:
        found.append(f"{name}: its jobs have permissions that they did not ask for")
    if "concurrency" not in workflow:
        found.append(f"{name}: runs of one branch do not wait for each other")
    for job, content in workflow["jobs"].items():
        if not isinstance(content.get("timeout-minutes"), int):
            found.append(f"{name} / {job}: has no time limit")
    return found


def of_required_checks(workflows: dict[str, Any]) -> list[str]:
    """They exist under their names and report on every pull request."""
    found = []
    for name, job in REQUIRED.items():
        content = workflows.get(name, {"jobs": {}})["jobs"].get(job)
        if content is None or content.get("name", job) != job:
            found.append(f"there is no check {name} / {job}")
        elif not {"pull_request", "merge_group"} <= workflows[name][True].keys():
            found.append(f"{name} / {job}: a pull request would wait for it in vain")
    return found


def of_gate(jobs: dict[str, Any]) -> list[str]:
    """test-code always runs, and needs each job that is not there to inform."""
    gate, found = jobs["test-code"], []
    if gate.get("if") != "always()":
        found.append("test-code: is skipped when a job before it fails, and a skipped check passes")
    blocking = {job for job in jobs if not jobs[job].get("continue-on-error")} - {"test-code"}
    if blocking != set(gate["needs"]) or not {"matrix", "wheel"} <= blocking:
        found.append(f"test-code: needs {gate['needs']}, but {sorted(blocking)} block")
    return found


def of_pythons(testing: dict[str, Any], project: dict[str, Any]) -> list[str]:
    """The matrix, the classifiers and requires-python name the same versions."""
    matrix = testing["jobs"]["matrix"]["strategy"]["matrix"]["python"]
    said = [line.rpartition(" ")[2] for line in project["classifiers"] if ":: Python :: 3." in line]
    allowed = SpecifierSet(project["requires-python"])
    taken = [minor for minor in (f"3.{n}" for n in range(50)) if allowed.contains(f"{minor}.1")]
    if matrix == said == taken:
        return []
    return [f"matrix {matrix}, classifiers {said}, requires-python {taken}"]


def of_calls(workflows: dict[str, Any], texts: Texts) -> list[str]:
    """Each target exists, and .ci/run does what blocks a pull request."""
    targets = set(re.findall(r"^([a-z-]+):", texts["Makefile"], re.MULTILINE))
    called = {
        (name, job): calls(" \n".join(step.get("run", "") for step in content["steps"]))
        for name, workflow in workflows.items()
        for job, content in workflow["jobs"].items()
    }
    local = calls(texts[".ci/run"])
    found = []
    for (name, job), names in called.items():
        missing = {call for call in names if not call.startswith("tools/")} - targets
        found += [f"{name} / {job}: there is no target {target}" for target in sorted(missing)]
    for job in workflows["testing"]["jobs"]["test-code"]["needs"]:
        missing = called["testing", job] - local
        found += [f".ci/run: does not call {call}, which testing / {job} does" for call in missing]
    everywhere = set().union(*called.values(), {"setup"})
    return found + [f".ci/run: only here is {call} called" for call in sorted(local - everywhere)]


def calls(script: str) -> set[str]:
    """The targets of make and the tools that a script runs."""
    code = re.sub(r"^ *#.*", "", script, flags=re.MULTILINE)
    return {target or tool for target, tool in CALLS.findall(code)}


def of_paths(workflow: dict[Any, Any], dvc: dict[str, Any]) -> list[str]:
    """The pipeline runs when something changes that a stage reads, or that it committed."""
    patterns = workflow[True]["pull_request"]["paths"]
    read = {path for stage in dvc["stages"].values() for path in stage["deps"]}
    made = {next(iter(out)) for stage in dvc["stages"].values() for out in stage.get("outs", [])}
    watched = {*(read - made), "dvc.yaml", "dvc.lock", "config/params.yaml", "data/source/new.csv"}
    return [
        f"pipeline: does not run when {path} changes"
        for path in sorted(watched - {"data/source"})
        if not any(fnmatch(path, pattern) for pattern in patterns)
    ]


def test_the_workflows_keep_their_promises(texts: Texts) -> None:
    """All of them."""
    assert mistakes(texts) == []


TESTING, DOCS = ".github/workflows/testing.yml", ".github/workflows/documentation.yml"
PIPELINE, SETUP = ".github/workflows/pipeline.yml", ".github/actions/setup/action.yml"

PLANTS = [
    (r"(actions/cache)@\w+ # \S+", r"\1@v5", SETUP, "actions/cache@v5 is not pinned to a commit"),
    (r"(checkout@\w{39})\w", r"\1", TESTING, "is not pinned to a commit"),
    (r"(checkout@\w{40}).*", r"\1", TESTING, "has no version beside it"),
    (r"(checkout@\w{40}).*", r"\1 # v7", TESTING, "has no version beside it"),
    ("make lint", "curl https://example.org/x | sh", TESTING, "names the host https://example.org"),
    ("make lint", "docker push ghcr.io/me/it", TESTING, "names the host ghcr.io"),
    ("pull_request:", "pull_request_target:", DOCS, "documentation: runs on pull_request_target"),
    ("permissions: {}", "permissions: write-all", DOCS, "did not ask for"),
    ("permissions: {}\n", "", DOCS, "did not ask for"),
    (r"concurrency:\n.*\n.*\n", "", DOCS, "do not wait for each other"),
    (r" +timeout-minutes: 20\n", "", TESTING, "testing / wheel: has no time limit"),
    ("name: testing", "name: tests", TESTING, "there is no check testing / test-code"),
    ("test-code:", "test:", TESTING, "there is no check testing / test-code"),
    (r"(  test-code:\n)", r"\1    name: All\n", TESTING, "no check testing / test-code"),
    ("build-docs", "docs", DOCS, "there is no check documentation / build-docs"),
    ("  merge_group:\n", "", TESTING, "testing / test-code: a pull request would wait"),
    ("    if: always\\(\\)\n    needs", "    needs", TESTING, "test-code: is skipped when"),
    (r"needs: \[matrix, wheel\]", "needs: [matrix]", TESTING, "test-code: needs ['matrix'], but"),
    ("    continue-on-error: true\n", "", TESTING, "'lowest-versions', 'matrix'"),
    (r'"3.11", ', "", TESTING, "matrix ['3.12', '3.13'], classifiers ['3.11',"),
    (" +.*:: 3.13.*\n", "", "pyproject.toml", "classifiers ['3.11', '3.12'], requires"),
    ("<3.14", "<3.15", "pyproject.toml", "requires-python ['3.11', '3.12', '3.13', '3.14']"),
    ("make docs", "make dosc", DOCS, "documentation / build-docs: there is no target dosc"),
    ("^lint:", "check:", "Makefile", "testing / matrix: there is no target lint"),
    ("make lint", "true", ".ci/run", ".ci/run: does not call lint, which testing / matrix does"),
    ("python tools/actionlint.py", "true", ".ci/run", "does not call tools/actionlint.py"),
    ("make lint", "make lint; make clean", ".ci/run", ".ci/run: only here is clean called"),
    ("- src/.*", "", PIPELINE, "pipeline: does not run when src/mlref/core/rows.py changes"),
    ("- dvc.*", "", PIPELINE, "pipeline: does not run when dvc.lock changes"),
]


@pytest.mark.parametrize(
    ("old", "new", "path", "sentence"), PLANTS, ids=[f"{row[2]}: {row[3]}" for row in PLANTS]
)
def test_a_planted_mistake_is_named(
    old: str, new: str, path: str, sentence: str, texts: Texts
) -> None:
    """So that silence means something."""
    changed, count = re.subn(old, new, texts[path], flags=re.MULTILINE)
    assert count
    found = mistakes(texts | {path: changed})
    assert any(sentence in line for line in found), found
