"""What the workflows promise beyond what their schema and zizmor check."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]


def workflow(name: str) -> dict[Any, Any]:
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text()
    return dict(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("name", "job"), [("testing", "test-code"), ("documentation", "build-docs")]
)
def test_a_required_check_reports_on_every_pull_request(name: str, job: str) -> None:
    found = workflow(name)
    events = found[True]  # YAML 1.1 reads the key `on` as true
    assert found["name"] == name and found["jobs"][job].get("name", job) == job
    assert {"pull_request", "merge_group"} <= events.keys()


def test_the_required_check_needs_every_job_that_blocks_and_is_never_skipped() -> None:
    jobs = workflow("testing")["jobs"]
    blocking = {job for job in jobs if not jobs[job].get("continue-on-error")} - {"test-code"}
    assert set(jobs["test-code"]["needs"]) == blocking
    assert jobs["test-code"].get("if") == "always()"


def test_the_matrix_has_the_pythons_that_the_package_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = SpecifierSet(project["requires-python"])
    matrix = workflow("testing")["jobs"]["matrix"]["strategy"]["matrix"]["python"]
    assert matrix == [minor for minor in (f"3.{n}" for n in range(50)) if minor in allowed]
    assert [f"Programming Language :: Python :: {minor}" for minor in matrix] == [
        line for line in project["classifiers"] if ":: Python :: 3." in line
    ]
