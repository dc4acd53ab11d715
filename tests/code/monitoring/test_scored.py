"""What `mlref score` wrote is judged as what a service logged; nothing of it is kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlref.cli import main
from mlref.core.storage import Project
from mlref.data.tables import write_parquet
from mlref.monitoring.reference import Reference
from tests.fakes import linear
from tests.projects import rents


@pytest.fixture
def scored(project: Project, known: Reference) -> Path:
    """Two parts of rents, with keys, and the truth of all rows in another order."""
    frame = rents(120, seed=101).drop(columns="rent")
    codes = frame["heating"].map({"gas": 0, "oil": 1, "wood": 2})
    frame["prediction"] = linear(
        frame.assign(heating=codes)[["area", "rooms", "heating", "balcony"]]
    )
    frame = frame.assign(lower=frame.prediction - 329, upper=frame.prediction + 329)
    frame = frame.assign(home=range(120), model_version="1")
    folder = project.root / "scored"
    folder.mkdir()
    for number, part in enumerate((frame[:70], frame[70:])):
        write_parquet(folder / f"part-{number}.parquet", part)
    error = np.random.default_rng(1).normal(0, 200, 120)
    truth = pd.DataFrame({"home": range(120), "rent": (frame.prediction + error).clip(0, 20_000)})
    truth[::-1].to_csv(project.root / "truth.csv", index=False)
    return folder


def monitor(scored: Path, *options: str, window: str = "50") -> int:
    """Judge the parts."""
    return main(["monitor", "--scored", str(scored), "--window", window, *options])


def test_scored_rows_are_judged_with_their_truth(
    scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = (scored.parent / "predictions.db").read_bytes()
    assert monitor(scored, "--truth", "truth.csv", "--id", "home") == 0
    said = capsys.readouterr().out
    assert "Truth, version 1, 50 labels" in said and "No alarm." in said
    assert "20 rows are no window" in said
    assert (scored.parent / "predictions.db").read_bytes() == log


def test_a_fault_in_scored_rows_is_an_alarm(
    scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in scored.iterdir():
        write_parquet(path, pd.read_parquet(path).assign(area=lambda frame: frame.area * 2))
    assert monitor(scored) == 3
    assert "of area" in capsys.readouterr().out


FAULTS: dict[str, tuple[Any, str]] = {
    "a key twice": ("home,rent\n1,5\n1,6\n", "'home' twice"),
    "no target": ("home\n1\n", "lacks the columns rent"),
    "no table": ("\x00", "truth.csv"),
}


@pytest.mark.parametrize(("content", "problem"), FAULTS.values(), ids=FAULTS)
def test_truth_that_cannot_be_joined_is_refused(
    content: str, problem: str, scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("truth.csv").write_text(content)
    assert monitor(scored, "--truth", "truth.csv", "--id", "home") == 1
    assert problem in capsys.readouterr().err


def test_days_and_empty_folders_are_refused(
    scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert monitor(scored, window="1d") == 1
    assert "Scored files have no time" in capsys.readouterr().err
    assert monitor(scored.parent / "config") == 1
    assert "holds no part in Parquet" in capsys.readouterr().err
