"""Published runs: trained anew by their protocol, compared digit by digit, logged once."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split

from mlref.core.storage import Project
from mlref.tracking import runs
from tests.projects import copy

EXAMPLE = Path(__file__).parents[2] / "examples" / "published_runs.py"
SIZES = ["area", "rooms"]


def protocol(project: Project) -> dict[str, Any]:
    """Two published runs on the rents, whose metrics are measured as a person would."""
    source = pd.read_csv(project.root / "data" / "source" / "rents.csv")
    frame = source[[*SIZES, "rent"]]
    frame.to_csv(project.root / "data" / "source" / "published.csv", index=False)
    features = frame[SIZES].assign(area=np.floor(frame["area"] + 0.5))
    scaled = (features - features.mean()) / np.sqrt(((features - features.mean()) ** 2).sum())
    train, test, actual, held = train_test_split(scaled, frame["rent"], random_state=5)
    printed = []
    for alpha in (0.1, 1.0):
        predicted = Ridge(alpha=alpha).fit(train, actual).predict(test)
        mae = float(np.abs(predicted - held).mean())
        rmse = float(np.sqrt(((predicted - held) ** 2).mean()))
        printed.append({"alpha": alpha, "mae": round(mae, 2), "rmse": round(rmse, 1)})
    return {
        "experiment": "rents-published",
        "title": "Two runs",
        "source": {"kind": "file", "path": "data/source/published.csv"},
        "restored": {"area": "floor(area + 0.5)"},
        "split_seed": 5,
        "estimator": "sklearn.linear_model.Ridge",
        "options": {"solver": "svd"},
        "decimals": {"mae": 2, "rmse": 1},
        "runs": printed,
    }


@pytest.fixture
def project(opened: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with published runs and an MLflow store without any."""
    project = copy(opened, tmp_path / "clone")
    monkeypatch.chdir(project.root)
    return project


def run(project: Project, published: dict[str, Any]) -> int:
    """Write the file of published runs and run the example; its exit code."""
    project.published_runs.write_text(yaml.safe_dump(published, sort_keys=False))
    return int(runpy.run_path(str(EXAMPLE))["main"]())


def test_runs_that_agree_in_every_digit_are_logged_once(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    published = protocol(project)
    for _ in range(2):
        assert run(project, published) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["run", "mae", "here", "rmse", "here"]
        assert lines[-1] == "4 of 4 figures agree"
    logged = runs.search(project, "rents-published", order=["params.alpha"])
    assert list(logged["params.alpha"]) == ["0.1", "1.0"]
    assert logged["metrics.mae"].round(2).tolist() == [one["mae"] for one in published["runs"]]


@pytest.mark.parametrize("fault", ["digit", "data"])
def test_a_digit_that_differs_is_exit_code_1(
    project: Project, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    published = protocol(project)
    if fault == "digit":
        published["runs"][1]["mae"] += 0.01
    else:
        published["restored"] = {}
    assert run(project, published) == 1
    agree = int(capsys.readouterr().out.splitlines()[-1].removesuffix(" of 4 figures agree"))
    assert agree < 4 if fault == "data" else agree == 3
