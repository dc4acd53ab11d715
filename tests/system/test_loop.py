"""`make loop` in a clone: it closes, and the clone is as it was."""

from pathlib import Path

import pytest

from tests.system.conftest import git, make_clone, run

pytest.importorskip("mlref.serving")  # a fork may have taken the service out

BEFORE = ("quiet", "change", "alarm")
AFTER = ("gate", "promote", "recover", "bad candidate", "rollback", "loop")


@pytest.mark.full
@pytest.mark.parametrize("step, options", [("retrain", "--quick"), ("learn", "--quick --learn")])
def test_the_loop_closes_and_equal_seeds_decide_equally(
    step: str, options: str, tmp_path: Path
) -> None:
    if step == "learn":
        pytest.importorskip("mlref.online")
    clone = make_clone(tmp_path / "mlref")
    said = run(clone, "make", "loop", f"ARGS={options}").stdout
    names = tuple(line.partition(":")[0] for line in said.splitlines())
    assert names == (*BEFORE, step, *AFTER)
    assert said.endswith("loop: closed\n")
    assert git(clone, "status", "--porcelain", "--ignored") in ("", "!! .venv/\n")
    assert run(clone, "make", "loop", f"ARGS={options}").stdout == said
