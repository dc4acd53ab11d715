"""A plane that a fork does not need comes off: folder, tests and extra, and the rest stays green."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.system.conftest import commit, make_clone, run

PYTEST = ("pytest", "-q")


class Plane(NamedTuple):
    """What a plane has of its own."""

    command: str
    extra: str
    folders: tuple[str, ...]
    files: tuple[str, ...]


PLANES = {
    "the service": Plane(
        "serve", "serve", ("src/mlref/serving", "tests/code/serving"),
        ("tests/system/test_service.py", "tests/system/test_image.py", "requirements/serve.txt",
         "benchmarks/serving.py",
         "docs/reference/http-api.md"),
    ),
    "batch scoring": Plane(
        "score", "batch", ("src/mlref/batch", "tests/code/batch"),
        ("tests/system/test_batch.py", "requirements/batch.txt", "benchmarks/batch.py"),
    ),
}  # fmt: skip
"""Each comes off without the others."""


def without(planes: Iterable[str], folder: Path) -> Path:
    """A clone without them, as the how-to says: without their folders, tests, extras and locks."""
    clone = make_clone(folder / "clone")
    project = clone / "pyproject.toml"
    for gone in map(PLANES.__getitem__, planes):
        for name in gone.folders:
            shutil.rmtree(clone / name)
        for name in gone.files:
            (clone / name).unlink()
        text, extras = re.subn(
            rf"^{gone.extra} = \[\n.*?^\]\n",
            "",
            project.read_text(),
            flags=re.DOTALL | re.MULTILINE,
        )
        text, uses = re.subn(rf"(mlref\[train[a-z,]*),{gone.extra}\b", r"\1", text)
        assert (extras, uses) == (1, 2)
        project.write_text(text)
    run(clone, "python", "tools/write_reference.py")
    commit(clone, f"without {' and '.join(planes)}")
    return clone


@pytest.mark.parametrize("plane", PLANES)
def test_without_a_plane_nothing_asks_for_it(plane: str, tmp_path: Path) -> None:
    """No import, no layer, no command, no page; the tests about the whole tree pass."""
    bare = without([plane], tmp_path)
    run(bare, "lint-imports")
    run(bare, "python", "tools/write_reference.py", "--check")
    command = PLANES[plane].command
    assert run(bare, "mlref", command, check=False).returncode == 2, "no such command"
    run(bare, *PYTEST, "--collect-only")
    whole = [str(path.relative_to(bare)) for path in sorted(bare.glob("tests/code/test_*.py"))]
    said = run(bare, *PYTEST, *whole).stdout
    assert " passed" in said and "failed" not in said


@pytest.mark.load
def test_without_any_plane_lint_and_all_tests_pass(tmp_path: Path) -> None:
    """Everything but the tests of the whole system, which make clones of their own."""
    bare = without(PLANES, tmp_path)
    run(bare, "pre-commit", "run", "--all-files")
    said = run(bare, *PYTEST, "-n", "2", "--ignore=tests/system").stdout
    assert " passed" in said and "failed" not in said
