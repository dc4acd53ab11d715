"""`make loop` in a clone: it closes, and the clone is as it was."""

from pathlib import Path

import pytest

from tests.system.conftest import git, make_clone, run

pytest.importorskip("mlref.serving")  # a fork may have taken the service out

STEPS = (
    *("quiet", "change", "alarm", "retrain", "gate", "promote"),
    *("recover", "bad candidate", "rollback", "loop"),
)


@pytest.mark.full
def test_the_loop_closes_and_equal_seeds_decide_equally(tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "mlref")
    said = run(clone, "make", "loop", "ARGS=--quick").stdout
    assert tuple(line.partition(":")[0] for line in said.splitlines()) == STEPS
    assert said.endswith("loop: closed\n")
    assert git(clone, "status", "--porcelain", "--ignored") in ("", "!! .venv/\n")
    assert run(clone, "make", "loop", "ARGS=--quick").stdout == said
