"""tools/pipeline_report.py: what a reviewer is told."""

import copy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tools.pipeline_report import bars, candidates, errors, main, stages, stale, verdict

LOCK: dict[str, Any] = {
    "stages": {
        "tune": {
            "cmd": "mlref tune",
            "deps": [{"path": "src/tune.py", "md5": "1"}],
            "params": {"config/params.yaml": {"tune": {"seed": 1}}},
            "outs": [{"path": "reports/tuning.json", "md5": "2"}],
        },
        "train": {
            "cmd": "mlref train",
            "deps": [{"path": "reports/tuning.json", "md5": "2"}],
            "outs": [{"path": "models/model", "md5": "3"}],
        },
    }
}


def test_the_verdict_comes_with_its_reasons() -> None:
    """One line each."""
    gate = {"verdict": "block", "reasons": ["It is worse.", "It breaks a promise."]}
    assert list(verdict(gate, same=False)) == [
        "**block**", "", "- It is worse.", "- It breaks a promise.",
    ]  # fmt: skip


def test_without_a_verdict_that_is_all_there_is_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stage failed; figures that an earlier model left behind would mislead."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["pipeline_report.py", "base"])
    assert main() == 0
    assert "No verdict" in capsys.readouterr().out


def test_the_same_model_has_no_new_verdict() -> None:
    """What the gate said of it when it was first seen would mislead."""
    [line] = verdict({"verdict": "promote", "reasons": ["There is no champion yet."]}, same=True)
    assert "same model" in line and "champion" not in line


@pytest.fixture
def changed() -> dict[str, Any]:
    """A lock to change."""
    return copy.deepcopy(LOCK)


def test_no_change_means_no_stage(changed: dict[str, Any]) -> None:
    """As for a change of the documentation."""
    assert list(stages(LOCK, changed)) == ["No stage has other data, code or knobs than before."]


def test_a_stage_is_listed_with_what_changed(changed: dict[str, Any]) -> None:
    """A file, a knob, and whether it mattered."""
    changed["stages"]["tune"]["deps"][0]["md5"] = "9"
    changed["stages"]["tune"]["params"]["config/params.yaml"]["tune"]["seed"] = 2
    rows = list(stages(LOCK, changed))[2:]
    assert rows == ["| tune | src/tune.py<br>tune in config/params.yaml | as before |"]


def test_a_change_is_followed_from_stage_to_stage(changed: dict[str, Any]) -> None:
    """New results of one are new data of the next."""
    changed["stages"]["tune"]["params"]["config/params.yaml"]["tune"]["seed"] = 2
    changed["stages"]["tune"]["outs"][0]["md5"] = "8"
    changed["stages"]["train"]["deps"][0]["md5"] = "8"
    changed["stages"]["train"]["outs"][0]["md5"] = "7"
    assert list(stages(LOCK, changed))[2:] == [
        "| tune | tune in config/params.yaml | new |",
        "| train | reports/tuning.json | new |",
    ]


def test_a_new_stage_is_listed(changed: dict[str, Any]) -> None:
    """With all that it reads."""
    del changed["stages"]["train"]
    assert list(stages(changed, LOCK))[2:] == ["| train | reports/tuning.json | new |"]


def test_bars_are_as_long_as_their_figures() -> None:
    """The largest has thirty characters; one that came or went has a dash on the other side."""
    before = pd.Series([100.0, 50.0], index=["mean", "gone"])
    after = pd.Series([100.0, 20.0], index=["mean", "came"])
    assert list(bars(before, after))[2:] == [
        f"| mean | 100 | 100 | {'█' * 30} |",
        f"| came | – | 20 | {'█' * 6} |",
        "| gone | 50 | – |  |",
    ]


def test_candidates_are_in_the_order_of_the_trials() -> None:
    found = {"ridge": {"trial": 1, "rmse": 50.0}, "mean": {"trial": 0, "rmse": 80.0}}
    assert list(candidates({"candidates": found}).items()) == [("mean", 80.0), ("ridge", 50.0)]


def test_errors_are_counted_by_size() -> None:
    """In steps of half a standard deviation, the last one open."""
    actual = pd.Series([-1.0, 1.0] * 50)
    off = pd.Series([0.0] * 60 + [0.8] * 30 + [99.0] * 10)
    counts = errors(pd.DataFrame({"actual": actual, "value": actual + off}))
    assert counts.to_list() == [60, 30, 0, 0, 10]
    assert counts.index.to_list()[:2] == ["from 0", "from 0.503"]


def test_files_that_the_pipeline_wrote_otherwise_are_listed() -> None:
    """So that whoever forgot to commit them is told what to do."""
    said = list(stale(" M dvc.lock\n M reports/metrics.json\n"))
    assert "make train" in said[0] and said[2:] == ["- dvc.lock", "- reports/metrics.json"]
    assert list(stale("")) == ["They are what the pipeline wrote here."]
