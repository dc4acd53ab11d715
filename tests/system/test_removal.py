"""A plane that a fork does not need comes off: folder, tests and extra, and the rest stays green."""

import re
import shutil
from pathlib import Path

from tests.system.conftest import commit, make_clone, run


def test_without_the_service_lint_and_tests_pass(tmp_path: Path) -> None:
    """What the how-to says: delete src/mlref/serving, its tests, its extra and its lock."""
    clone = make_clone(tmp_path / "clone")
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
    run(clone, "pre-commit", "run", "--all-files")
    assert run(clone, "mlref", "serve", check=False).returncode == 2, "no such command"
    # Its own coverage is of no interest and would take twice the time.
    plain = ("env", "--unset=COVERAGE_PROCESS_CONFIG", "pytest", "-q", "-n", "2")
    said = run(clone, *plain, "--ignore=tests/system").stdout
    assert " passed" in said and "failed" not in said
