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

import mlflow
import pytest

from tests.system.conftest import (
    TRAIN,
    bundle_digest,
    environment,
    git,
    make_clone,
    run,
)

pytestmark = pytest.mark.xdist_group(
    "quick"
)  # one worker trains the clone, and the other never waits


def test_the_first_training_ends_with_a_champion_and_says_how_good_it_is(quick: Path) -> None:
    """Version and alias, metrics with intervals beside both baselines, verdict, next command."""
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
    assert (quick / "models" / "store" / "champion").read_text().strip() == gate["digest"]
    assert git(quick, "status", "--porcelain") == ""


def test_the_committed_lock_is_of_this_tree(tmp_path: Path) -> None:
    """Whoever changes code, settings or data of a stage commits what `make train` then writes."""
    clone = make_clone(tmp_path / "mlref")
    said = run(clone, "dvc", "status").stdout
    assert "modified:" not in said and "changed command" not in said, f"run make train:\n{said}"
    (clone / "src" / "mlref" / "features.py").write_text("")
    assert "modified:           src/mlref/features.py" in run(clone, "dvc", "status").stdout


def test_training_again_runs_no_stage_and_changes_nothing(copied: Path) -> None:
    """DVC finds everything up to date, and the registration is there."""
    before = (copied / "models" / "store" / f"{bundle_digest(copied)}.json").read_bytes()
    said = run(copied, *TRAIN).stdout
    assert "Running stage" not in said and "Model version 1 (champion)" in said
    assert (copied / "models" / "store" / f"{bundle_digest(copied)}.json").read_bytes() == before


def test_a_moved_clone_keeps_its_runs_and_its_model(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow finds the files of a run, and writes more of them, where the clone is now."""
    moved = copied.rename(copied.parent / "elsewhere")
    shutil.rmtree(moved / "reports" / "cards")
    before = {path for path in (moved / "mlartifacts").rglob("*") if path.is_file()}
    (card,) = (path for path in before if path.name == "model-card.md")
    card.unlink()
    assert "Model version 1 (champion)" in run(moved, *TRAIN).stdout
    assert {path for path in (moved / "mlartifacts").rglob("*") if path.is_file()} == before
    # The next lines run in this process: MLflow keeps its addresses in environment variables.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{moved}/mlflow.db")
    client = mlflow.MlflowClient(f"sqlite:///{moved}/mlflow.db", f"sqlite:///{moved}/mlflow.db")
    (version,) = client.search_model_versions("")
    files = client.list_artifacts(version.run_id)
    assert any(file.path == "metrics.json" for file in files)
    assert not copied.exists(), "nothing was written to where the clone was"


def test_a_kill_in_any_stage_is_mended_by_training_again(copied: Path) -> None:
    """SIGKILL to DVC and its stage while it works; the next `make train` gives the same model."""
    before = bundle_digest(copied)
    for stage in ("ingest", "validate", "split", "tune", "train", "package", "evaluate"):
        kill(copied, f"mlref {stage}", "dvc", "repro", "--force", "--single-item", stage)
    run(copied, *TRAIN)
    assert bundle_digest(copied) == before
    assert git(copied, "status", "--porcelain") == ""


def test_a_kill_while_registering_is_mended_by_training_again(copied: Path) -> None:
    """One finished run, one version and the same champion, at whatever point the kill came."""
    before = bundle_digest(copied)
    (copied / "mlflow.db").unlink()
    shutil.rmtree(copied / "models" / "store")
    for seconds in (2.0, 4.0):
        kill(copied, "mlref register", "mlref", "register", after=seconds)
    assert "(champion)" in run(copied, *TRAIN).stdout
    assert (copied / "models" / "store" / "champion").read_text().strip() == before
    [record] = (copied / "models" / "store").glob("*.json")
    assert json.loads(record.read_text())["version"] == "1"


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


def test_a_lock_that_a_kill_has_torn_is_mended(copied: Path) -> None:
    """DVC writes dvc.lock in place; wherever it is cut, the committed one takes its place."""
    lock = copied / "dvc.lock"
    whole = lock.read_bytes()
    for kept in (0, 300):
        lock.write_bytes(whole[:kept])
        assert "Running stage" not in run(copied, *TRAIN).stdout
        assert lock.read_bytes() == whole


def test_two_trainings_at_once_make_what_was_deleted_as_it_was(copied: Path) -> None:
    """One waits or is told. Everything comes back, the bundle to the byte, and git stays clean."""
    before = bundle_digest(copied)
    (copied / "mlflow.db").unlink()
    for name in ("models", "reports", "mlartifacts", "data/raw", ".dvc/cache"):
        shutil.rmtree(copied / name)
    both = [
        subprocess.Popen(
            TRAIN, cwd=copied, env=environment(copied),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        for _ in range(2)
    ]
    said = [process.communicate(timeout=600)[0] for process in both]
    codes = [process.returncode for process in both]
    assert 0 in codes, said
    for code, text in zip(codes, said, strict=True):
        assert code == 0 or "lock" in text.lower(), text
    run(copied, *TRAIN)
    assert bundle_digest(copied) == before
    store = copied / "models" / "store"
    assert [path.name for path in store.glob("*.json")] == [f"{before}.json"]
    assert (store / "champion").read_text().strip() == before
    assert git(copied, "status", "--porcelain") == ""


@pytest.mark.full
def test_a_fork_trains_on_its_own_data(second: Path) -> None:
    """Another target, a category of text, an integer and a nullable number; nothing else to edit."""
    metrics = json.loads((second / "reports" / "metrics.json").read_text())
    assert metrics["rmse"]["upper"] < metrics["baselines"]["mean"]["rmse"]["lower"]
    [record] = (second / "models" / "store").glob("*.json")
    assert json.loads(record.read_text())["gate"]["verdict"] == "promote"


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
    done = run(copied, *TRAIN, check=False)
    assert done.returncode != 0
    assert f"row 3, column '{name}': got 'many'; allowed: " in done.stderr
    assert "Traceback" not in done.stderr
    assert bundle_digest(copied) == before
