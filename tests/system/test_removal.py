"""A plane that a fork does not need comes off: folder, tests and extra, and the rest stays green."""

import re
import shutil
from pathlib import Path

import pytest

from tests.system.conftest import commit, make_clone, run

# Its own coverage is of no interest and would take twice the time.
PYTEST = ("env", "--unset=COVERAGE_PROCESS_CONFIG", "pytest", "-q")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone without the service, as the how-to says: without its folder, tests, extra and lock."""
    clone = make_clone(tmp_path_factory.mktemp("bare") / "clone")
    for name in ("src/mlref/serving", "tests/code/serving"):
        shutil.rmtree(clone / name)
    for name in (
        "tests/system/test_service.py", "tests/system/test_image.py", "requirements/serve.txt",
        "docs/reference/http-api.md",
    ):  # fmt: skip
        (clone / name).unlink()
    project = clone / "pyproject.toml"
    text = project.read_text()
    text, extras = re.subn(r"^serve = \[\n.*?^\]\n", "", text, flags=re.DOTALL | re.MULTILINE)
    text, uses = re.subn(r"mlref\[train,serve", "mlref[train", text)
    assert (extras, uses) == (1, 2)
    project.write_text(text)
    run(clone, "python", "tools/write_reference.py")
    commit(clone, "without the service")
    return clone


def test_without_the_service_nothing_asks_for_it(bare: Path) -> None:
    """No import, no layer, no command, no page; the tests about the whole tree pass."""
    run(bare, "lint-imports")
    run(bare, "python", "tools/write_reference.py", "--check")
    assert run(bare, "mlref", "serve", check=False).returncode == 2, "no such command"
    run(bare, *PYTEST, "--collect-only")
    whole = [str(path.relative_to(bare)) for path in sorted(bare.glob("tests/code/test_*.py"))]
    said = run(bare, *PYTEST, *whole).stdout
    assert " passed" in said and "failed" not in said


@pytest.mark.load
def test_without_the_service_lint_and_all_tests_pass(bare: Path) -> None:
    """Everything but the tests of the whole system, which make clones of their own."""
    run(bare, "pre-commit", "run", "--all-files")
    said = run(bare, *PYTEST, "-n", "2", "--ignore=tests/system").stdout
    assert " passed" in said and "failed" not in said
