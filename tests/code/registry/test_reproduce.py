"""Published runs: trained anew by their protocol, compared digit by digit, logged once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split

from mlref import tracking
from mlref.core.errors import MlrefError, SettingsError
from mlref.core.storage import Project, digest
from mlref.registry import reproduce
from mlref.registry.reproduce import Figure, check, load, run, tabulate
from tests.projects import copy

SIZES = ["area", "rooms"]


def protocol(project: Project) -> dict[str, Any]:
    """A file of two published runs on the rents, whose figures are measured as a person would."""
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


def write(project: Project, document: dict[str, Any]) -> None:
    """Write the file of published runs."""
    project.published_runs.write_text(yaml.safe_dump(document, sort_keys=False))


@pytest.fixture
def project(opened: Project, tmp_path: Path) -> Project:
    """A project with published runs and an MLflow store without any."""
    project = copy(opened, tmp_path / "clone")
    write(project, protocol(project))
    return project


def test_published_runs_are_reproduced_to_the_last_digit(project: Project) -> None:
    """Scaled over all rows and split once, as their protocol says."""
    figures = run(project)
    assert check(figures) == "4 of 4 figures agree"
    head, rows = tabulate(figures)
    assert head == ["run", "mae", "here", "rmse", "here"]
    assert [row[0] for row in rows] == ["alpha 0.1", "alpha 1"]
    assert all(row[1] == row[2] and row[3] == row[4] for row in rows)
    assert len(rows[0][1].partition(".")[2]) == 2


def test_reproduced_runs_are_logged_to_an_experiment_of_their_own(project: Project) -> None:
    """With settings, metrics and what was published; doing it twice changes nothing."""
    figures = run(project)
    before = digest(project.root / "mlflow.db")
    assert run(project) == figures
    assert digest(project.root / "mlflow.db") == before
    with tracking.opened(project, "rents-published") as runs:
        found = runs.search(order=["run_name"])
    assert [run.run_name for run in found] == ["alpha 0.1", "alpha 1"]
    assert found[0].params == {"alpha": "0.1"}
    assert found[0].metrics["published_mae"] == pytest.approx(found[0].metrics["mae"], abs=0.005)
    with tracking.opened(project, "rents") as runs:
        assert runs.search() == []


def test_a_figure_that_disagrees_is_named(project: Project) -> None:
    """With the run, the metric and both values."""
    document = protocol(project)
    printed = document["runs"][1]["mae"]
    document["runs"][1]["mae"] = round(printed + 0.01, 2)
    write(project, document)
    with pytest.raises(MlrefError) as caught:
        check(run(project))
    assert str(caught.value) == (
        "3 of 4 figures agree:\n"
        f"  alpha 1: mae is {printed:.2f} here, {printed + 0.01:.2f} was published"
    )
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    "change",
    [
        {"split_seed": 6},
        {"restored": {}},
        {"estimator": "sklearn.linear_model.Lasso", "options": {}},
    ],
    ids=["split", "values", "model"],
)
def test_another_protocol_gives_other_figures(project: Project, change: dict[str, Any]) -> None:
    """Each part of it matters."""
    write(project, protocol(project) | change)
    with pytest.raises(MlrefError, match="of 4 figures agree:"):
        check(run(project))


def test_changed_figures_are_logged_beside_the_earlier_ones(project: Project) -> None:
    """A run of other code or data is another run."""
    run(project)
    write(project, protocol(project) | {"split_seed": 6})
    run(project)
    with tracking.opened(project, "rents-published") as runs:
        assert len(runs.search()) == 4


@pytest.mark.parametrize("value", [62.195, 62.2049])
def test_a_figure_is_compared_with_its_trailing_zero(value: float) -> None:
    """62.20 was printed, not 62.2."""
    assert Figure("a", "mae", "62.20", f"{value:.2f}").agrees
    assert not Figure("a", "mae", "62.20", "62.21").agrees


def test_without_the_file_there_is_nothing_to_reproduce(trained: Project) -> None:
    """A fork is told so in a sentence; MLflow is not touched."""
    with pytest.raises(MlrefError, match="There are no published runs to reproduce: config/publ"):
        run(trained)
    assert not (trained.root / "mlflow.db").exists()


def _without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda document: document.pop(key)


MISTAKES: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (_without("split_seed"), "split_seed: is missing"),
    (lambda d: d.update(sede=1), "sede: unknown key"),
    (lambda d: d.update(estimator="os.system"), "estimator: got 'os.system'; allowed: "),
    (lambda d: d.update(estimator="sklearn.linear_model.Rigde"), "estimator: module "),
    (lambda d: d.update(estimator="sklearn.liner_model.Ridge"), "estimator: No module named"),
    (lambda d: d["runs"][1].pop("mae"), "runs[1].mae: is missing"),
    (lambda d: d["runs"][0].update(alpah=1), "runs[0]: Ridge.__init__() got an unexpected"),
    (lambda d: d["runs"][0].update(alpha=-1.0), "runs[0]: The 'alpha' parameter of Ridge must be"),
    (lambda d: d["runs"].append({"alpha": "low"}), "runs[2].alpha: got 'low'"),
    (lambda d: d.update(runs=[]), "runs: "),
    (
        lambda d: d["decimals"].update(accuracy=2),
        "decimals.accuracy: no such metric; allowed: rmse,",
    ),
    (
        lambda d: d["restored"].update(area="floor(aera)"),
        "restored.area: name 'aera' is not defined",
    ),
    (lambda d: d["restored"].update(area="floor("), "restored.area: "),
    (lambda d: d["source"].update(path="../secret.csv"), "source.path: "),
]


@pytest.mark.parametrize(("plant", "sentence"), MISTAKES, ids=[row[1] for row in MISTAKES])
def test_a_mistake_in_the_file_is_named(
    plant: Callable[[dict[str, Any]], Any], sentence: str, project: Project
) -> None:
    """By its key, as in the contract and the settings; nothing is logged."""
    document = protocol(project)
    plant(document)
    write(project, document)
    before = digest(project.root / "mlflow.db")
    with pytest.raises(SettingsError) as caught:
        run(project)
    assert str(caught.value).startswith("config/published_runs.yaml has ")
    assert f"\n  {sentence}" in str(caught.value)
    assert digest(project.root / "mlflow.db") == before


def test_the_file_is_frozen_once_read(project: Project) -> None:
    """Like the contract and the settings."""
    from pydantic import ValidationError

    with pytest.raises(ValidationError):
        load(project).split_seed = 6


def test_formulas_do_not_change_the_rows_that_they_read(project: Project) -> None:
    """No frame is changed in place."""
    published = load(project)
    rows = pd.read_csv(project.root / "data" / "source" / "published.csv")
    before = rows.copy()
    list(reproduce.measure(published, rows, "rent"))
    pd.testing.assert_frame_equal(rows, before)
