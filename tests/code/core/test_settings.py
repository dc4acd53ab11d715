"""The settings refuse what they do not know."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mlref.core.errors import SettingsError
from mlref.core.settings import load
from tests.projects import PARAMS

SOUND: dict[str, Any] = PARAMS | {"tune": PARAMS["tune"] | {"candidates": {"ridge": {
    "alpha": {"low": 1, "high": 9.5, "log": True, "integer": False, "steps": 3},
    "solver": ["auto", "svd"],
}}}}  # fmt: skip


def write(folder: Path, change: dict[str, Any]) -> Path:
    """Params with some settings of some stages changed."""
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(SOUND | {k: SOUND.get(k, {}) | v for k, v in change.items()}))
    return path


def test_each_stage_gets_its_settings(tmp_path: Path) -> None:
    """`validate` and `register` too, whose names mean something else in Python and here."""
    read = load(write(tmp_path, {}))
    assert read.model_dump(by_alias=True) == SOUND
    assert (read.validate_.max_correlation, read.gate.confidence) == (0.999, 0.95)


@pytest.mark.parametrize(
    ("stage", "setting", "value", "allowed"),
    [
        ("validate", "max_correlation", 1, "less than 1"),
        ("split", "seed", -1, "greater than or equal to 0"),
        ("split", "seed", 2**32, f"less than {2**32}"),
        ("split", "seed", "40", "a valid integer"),
        ("split", "holdout", 0.01, "greater than or equal to 0.05"),
        ("tune", "folds", 2, "greater than or equal to 3"),
        ("tune", "sampler", "random", "'grid', 'quasi_random' or 'tpe'"),
        ("tune", "candidates", {}, "at least one entry"),
        ("tune", "candidates", ["mean"], "an object"),
        ("train", "folds", 1, "greater than or equal to 2"),
        ("train", "coverage", 1, "less than 1"),
        ("package", "tolerance", 0.1, "less than or equal to 0.01"),
        ("evaluate", "resamples", 99, "greater than or equal to 100"),
        ("evaluate", "confidence", 95, "less than 1"),
        ("evaluate", "smallest_slice", 1, "greater than or equal to 2"),
        ("register", "confidence", 0.1, "greater than or equal to 0.5"),
        ("register", "smallest_gain", -0.1, "greater than or equal to 0"),
        ("register", "largest_forgotten", 1, "less than 1"),
        ("register", "smallest_slice", 1, "greater than or equal to 2"),
        ("register", "slice_margin", -0.1, "greater than or equal to 0"),
        ("register", "largest_old_loss", -1, "greater than or equal to 0"),
        ("register", "leak_alarms", 0, "greater than 0"),
        ("register", "max_age_days", 0, "greater than 0"),
        ("monitor", "smallest_window", 49, "greater than or equal to 50"),
    ],
)
def test_a_setting_outside_its_range_is_refused(
    tmp_path: Path, stage: str, setting: str, value: object, allowed: str
) -> None:
    """With the file, the key, the value and what is allowed."""
    with pytest.raises(SettingsError) as refusal:
        load(write(tmp_path, {stage: {setting: value}}))
    (line,) = refusal.value.mistakes
    assert line.startswith(f"{stage}.{setting}: got {value!r}; allowed: ")
    assert allowed in line
    assert "params.yaml has 1 mistake" in str(refusal.value)


RANGE = {"low": 1, "high": 3}


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (3, ": got 3; allowed: a list of values, or a range with low and high"),
        ("1, 2", ": got '1, 2'; allowed: a list of values, or a range with low and high"),
        ([], ": got []; allowed: at least one entry"),
        ({"low": 1}, ".high: is missing"),
        (RANGE | {"low": "a"}, ".low: got 'a'; allowed: a valid number"),
        (RANGE | {"low": float("inf")}, ".low: got inf; allowed: a finite number"),
        (RANGE | {"low": 3}, ": low is 3 and high is 3; low must be below high"),
        (RANGE | {"low": 4}, ": low is 4 and high is 3; low must be below high"),
        (
            RANGE | {"low": 0, "log": True},
            ": low is 0 and high is 3; with log both must be above 0",
        ),
        (
            RANGE | {"high": 2.5, "integer": True},
            ": low is 1 and high is 2.5; with integer both must be whole numbers",
        ),
        (RANGE | {"steps": 1}, ".steps: got 1; allowed: greater than or equal to 2"),
        (
            RANGE | {"step": 3},
            ".step: unknown key (did you mean 'steps'?); allowed: high, integer, log, low, steps",
        ),
    ],
    ids=str,
)
def test_a_search_space_that_is_none_is_refused(tmp_path: Path, space: object, said: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load(write(tmp_path, {"tune": {"candidates": {"ridge": {"alpha": space}}}}))
    assert refusal.value.mistakes == (f"tune.candidates.ridge.alpha{said}",)


def test_a_missing_or_unknown_setting_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, {"split": {"houldout": 0.2}, "splitt": {}})
    path.write_text(path.read_text().replace("  holdout:", "  hold_out:"))
    with pytest.raises(SettingsError) as refusal:
        load(path)
    lines = [line.partition("; ")[0] for line in refusal.value.mistakes]
    assert sorted(lines) == [
        "split.hold_out: unknown key (did you mean 'holdout'?)",
        "split.holdout: is missing",
        "split.houldout: unknown key (did you mean 'holdout'?)",
        "splitt: unknown key (did you mean 'split'?)",
    ]
