"""What a new user does with a clone, and what goes wrong on the way."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.system.conftest import TRAIN, bundle_digest, environment, git, run

# one worker trains the clone, and the other never waits
pytestmark = [pytest.mark.load, pytest.mark.xdist_group("quick")]


def test_the_first_training_ends_with_a_champion_and_says_how_good_it_is(quick: Path) -> None:
    """Version, metrics with intervals beside both baselines, verdict, next command.

    Each command ran in two processes at once: the lock of DVC and that of `mlref register` made one wait.
    """
    said = (quick.parent / "said.txt").read_text()
    summary = said[said.index("Model version") :]
    assert "Model version 1 (champion)" in summary
    for name in ("mean", "single_feature"):
        line = next(line for line in summary.splitlines() if line.strip().startswith(name))
        assert line.count("[") == 2, "RMSE and MAE, each with an interval"
    assert "Verdict: promote" in summary
    assert summary.strip().endswith("Next: make serve")
    gate = json.loads((quick / "reports" / "gate.json").read_text())
    assert gate["verdict"] == "promote" and gate["digest"] == bundle_digest(quick)
    is_version_1(quick, gate["digest"])


def test_training_again_runs_no_stage_also_where_a_kill_has_torn_the_lock(copied: Path) -> None:
    """DVC writes dvc.lock in place; wherever it is cut, the committed one takes its place."""
    record = copied / "models" / "store" / f"{bundle_digest(copied)}.json"
    lock = copied / "dvc.lock"
    whole = lock.read_bytes(), record.read_bytes()
    lock.write_bytes(whole[0][:300])
    said = run(copied, *TRAIN).stdout
    assert "Running stage" not in said and "Model version 1 (champion)" in said
    assert (lock.read_bytes(), record.read_bytes()) == whole


REST = ["validate", "split", "train", "package"]


@pytest.mark.parametrize(
    "stages", [["ingest", "tune", "evaluate"], pytest.param(REST, marks=pytest.mark.full)]
)
def test_a_kill_in_a_stage_or_while_registering_is_mended_by_training_again(
    copied: Path, stages: list[str]
) -> None:
    """The next `make train` gives the same model, one finished run, one version and the same champion."""
    before = bundle_digest(copied)
    (copied / "mlflow.db").unlink()
    shutil.rmtree(copied / "models" / "store")
    for seconds in (2.0, 4.0):
        kill(copied, "mlref register", "mlref", "register", after=seconds)
    for stage in stages:
        kill(copied, f"mlref {stage}", "dvc", "repro", "--force", "--single-item", stage)
    (copied / "dvc.lock").write_bytes(b"")
    assert "(champion)" in run(copied, *TRAIN).stdout
    assert bundle_digest(copied) == before
    is_version_1(copied, before)


def is_version_1(clone: Path, digest: str) -> None:
    """Fail unless the bundle is the only version, and the champion, and nothing committed has changed."""
    store = clone / "models" / "store"
    [record] = store.glob("*.json")
    assert (record.stem, json.loads(record.read_text())["version"]) == (digest, "1")
    assert (store / "champion").read_text().strip() == digest
    assert git(clone, "status", "--porcelain") == ""


def kill(clone: Path, name: str, *command: str, after: float = 0.7) -> None:
    """Start a command, wait until the named process of it works, and kill all of it."""
    process = subprocess.Popen(
        command, cwd=clone, env=environment(clone), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with process:
        deadline = time.monotonic() + 60
        while not working(process.pid, name) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def working(session: int, name: str) -> bool:
    """Whether a process of this session runs the named command."""
    found = subprocess.run(
        ["ps", "-o", "args=", "-s", str(session)], capture_output=True, text=True
    ).stdout
    return any(name in line and "dvc" not in line for line in found.splitlines())


def test_a_bad_row_stops_the_pipeline_and_keeps_what_was_there(copied: Path) -> None:
    """File, row, column, value and what is allowed; the earlier model stays."""
    before = bundle_digest(copied)
    lines = (copied / "data" / "raw" / "dataset.csv").read_text().splitlines()
    name = lines[0].split(",")[0]
    lines[2] = ",".join(["many", *lines[2].split(",")[1:]])
    source = copied / "data" / "source" / "rows.csv"
    source.write_text("\n".join(lines) + "\n")
    contract = copied / "config" / "dataset.yaml"
    declared = "source: {kind: file, path: data/source/rows.csv}\n"
    contract.write_text(re.sub(r"(?ms)^source:.*?(?=^\S)", declared, contract.read_text()))
    done = run(copied, "dvc", "repro", check=False)
    assert done.returncode != 0
    assert f"row 3, column '{name}': got 'many'; allowed: " in done.stderr
    assert "Traceback" not in done.stderr
    assert bundle_digest(copied) == before
