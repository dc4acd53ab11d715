"""The memory of a search."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlref.training.journal import Journal

PART = ("ridge", [{"alpha": 1.0}], 0, (0, 1))
FOUND = {"errors": [[0.1 + 0.2, 1e-17]], "predictions": []}


def test_what_was_noted_is_found_again_to_the_last_bit(tmp_path: Path) -> None:
    """By another process too, which reads the file."""
    journal = Journal(tmp_path / "new" / "journal", ["data"])
    assert journal.find(PART) is None
    journal.add(PART, FOUND)
    assert Journal(journal.path, ["data"]).find(PART) == FOUND


@pytest.mark.parametrize(
    ("inputs", "part"),
    [
        (["other data"], PART),
        (["data"], ("ridge", [{"alpha": 1.0000000001}], 0, (0, 1))),
        (["data"], ("ridge", [{"alpha": 1.0}], 1, (0, 1))),
        (["data"], ("ridge", [{"alpha": 1.0}], 0, (0,))),
    ],
    ids=str,
)
def test_a_part_of_something_else_is_not_found(
    inputs: list[str], part: object, tmp_path: Path
) -> None:
    """Neither of other data nor of a setting that is almost the same."""
    Journal(tmp_path / "journal", ["data"]).add(PART, FOUND)
    assert Journal(tmp_path / "journal", inputs).find(part) is None


@pytest.mark.parametrize("left", [1, 30, -2])
def test_a_torn_line_costs_one_part(left: int, tmp_path: Path) -> None:
    """Wherever it is torn; what is noted after it is whole."""
    journal = Journal(tmp_path / "journal", ["data"])
    journal.add("first", 1)
    whole = journal.path.stat().st_size
    journal.add("second", 2)
    content = journal.path.read_bytes()
    journal.path.write_bytes(content[:whole] + content[whole:-1][:left])
    again = Journal(journal.path, ["data"])
    assert (again.find("first"), again.find("second")) == (1, None)
    again.add("second", 2)
    last = Journal(journal.path, ["data"])
    assert (last.find("first"), last.find("second")) == (1, 2)


def test_what_was_noted_before_a_kill_is_there(tmp_path: Path) -> None:
    """Nothing waits in the killed process's memory."""
    script = (
        "import os, pathlib, sys; from mlref.training.journal import Journal;"
        "Journal(pathlib.Path(sys.argv[1]), []).add('part', 7); os.kill(os.getpid(), 9)"
    )
    path = tmp_path / "journal"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script, str(path)], env=environment)
    assert done.returncode == -signal.SIGKILL
    assert Journal(path, []).find("part") == 7


def test_a_journal_can_be_removed_before_anything_is_noted(tmp_path: Path) -> None:
    """And after."""
    journal = Journal(tmp_path / "journal", [])
    journal.remove()
    journal.add("part", 1)
    journal.remove()
    assert not journal.path.exists()
