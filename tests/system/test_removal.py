"""A plane that a fork does not need comes off: folder, tests and extra, and the rest stays green."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.system.conftest import commit, make_clone, run


class Plane(NamedTuple):
    """What a plane has of its own."""

    command: str
    extra: str
    paths: tuple[str, ...]


LOOP = ("examples/loop.py", "tests/system/test_loop.py", "benchmarks/detection.py")
"""What needs both the service and the monitor."""

PLANES = {
    "the service": Plane(
        "serve", "serve",
        ("src/mlref/serving", "tests/code/serving", "tests/system/test_service.py",
         "tests/system/test_floods.py", "tests/system/test_image.py", "requirements/serve.txt",
         "benchmarks/serving.py", "docs/reference/http-api.md", *LOOP),
    ),
    "batch scoring": Plane(
        "score", "batch",
        ("src/mlref/batch", "tests/code/batch", "tests/system/test_batch.py",
         "requirements/batch.txt", "benchmarks/batch.py"),
    ),
    "monitoring": Plane(
        "monitor", "monitor",
        ("src/mlref/monitoring", "tests/code/monitoring", "tests/system/test_monitoring.py",
         "requirements/monitor.txt", "benchmarks/alarms.py", "benchmarks/loop.py",
         "benchmarks/monitoring.py",
         "deploy/prometheus", "deploy/grafana", "deploy/datadog",
         ".github/workflows/monitoring.yml", *LOOP),
    ),
    "online learning": Plane(
        "learn", "online",
        ("src/mlref/online", "tests/code/online", "requirements/online.txt", "benchmarks/online.py"),
    ),
}  # fmt: skip
"""Each comes off without the others."""


def without(planes: Iterable[str], folder: Path) -> Path:
    """A clone without them, as the how-to says."""
    clone = make_clone(folder / "clone")
    project = clone / "pyproject.toml"
    for gone in map(PLANES.__getitem__, planes):
        for path in (clone / name for name in gone.paths):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        text = re.sub(rf"(?ms)^{gone.extra} = \[\n.*?^\]\n", "", project.read_text())
        project.write_text(re.sub(rf"(mlref\[train[a-z,]*),{gone.extra}\b", r"\1", text))
    run(clone, "python", "tools/write_reference.py")
    commit(clone, f"without {' and '.join(planes)}")
    return clone


@pytest.mark.full
@pytest.mark.parametrize("planes", [*([plane] for plane in PLANES), [*PLANES]], ids=" and ".join)
def test_without_planes_lint_and_all_tests_pass(planes: list[str], tmp_path: Path) -> None:
    """Everything but the tests of the whole system, which make clones of their own."""
    bare = without(planes, tmp_path)
    for plane in planes:
        assert run(bare, "mlref", PLANES[plane].command, check=False).returncode == 2
    run(bare, "pre-commit", "run", "--all-files")
    run(bare, "pytest", "-q", "-n", "2", "--ignore=tests/system")
