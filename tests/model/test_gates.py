"""Gates that go red: each test plants a fault, and the gate refuses the model for its reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlref.bundle.store import Store
from mlref.contract import load
from mlref.data.tables import read_parquet, write_parquet
from mlref.data.validate import check_leakage
from mlref.errors import DataError
from mlref.evaluation import evaluate
from mlref.registry.publish import judge
from mlref.storage import Project, digest
from tests.projects import (
    RENTS_TEXT,
    RIVALS,
    rents,
    retrain,
    run_data,
    run_model,
    write_project,
)


def crown(project: Project) -> None:
    """Make the bundle of this project the champion."""
    store, name = Store(project.store), digest(project.bundle / "MANIFEST.json")
    store.add(project.bundle, project.model, {"digest": name, "version": "1"})
    store.point("champion", name)


def judged(project: Project) -> tuple[str, str]:
    """Verdict and reasons about a project's bundle."""
    gate = judge(project, Store(project.store))
    return gate["verdict"], "\n".join(gate["reasons"])


def from_data(
    folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame], **changed: Any
) -> Project:
    """A project that was trained on data with a planted fault."""
    project = write_project(folder, frame=change(rents()), **changed)
    run_data(project)
    run_model(project)
    return project


def shuffled(frame: pd.DataFrame) -> pd.DataFrame:
    """The target of other rows."""
    order = np.random.default_rng(0).permutation(len(frame))
    return frame.assign(rent=frame["rent"].to_numpy()[order])


def noised(frame: pd.DataFrame) -> pd.DataFrame:
    """A target that is nearly all noise."""
    noise = np.random.default_rng(0).normal(0, 9000, len(frame))
    return frame.assign(rent=(frame["rent"] + noise).clip(0, 20000))


def test_nothing_planted_is_promoted(trained: Project) -> None:
    """Otherwise a gate that always refuses would pass these tests."""
    assert judged(trained)[0] == "promote"


@pytest.mark.parametrize("fault", [shuffled, noised])
def test_a_target_without_a_signal_is_blocked(
    fault: Callable[[pd.DataFrame], pd.DataFrame], tmp_path: Path
) -> None:
    """No model may beat the baselines on it."""
    verdict, reasons = judged(from_data(tmp_path, fault))
    assert verdict == "block"
    assert "does not beat the baseline" in reasons or "no more than the baseline" in reasons


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"alpha": [1e6], "l1_ratio": [1.0]}, "baseline mean"),
        ({"alpha": [1e6], "l1_ratio": [0.0]}, "baseline mean"),
    ],
)
def test_a_constant_model_is_blocked(
    project: Project, settings: dict[str, list[Any]], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A choice that ignores the features, whatever it is called."""
    from mlref.training import tune

    honest = tune.choose

    def careless(results: list[dict[str, Any]], folds: int) -> dict[str, Any]:
        return honest(results, folds) | {"chosen": results[-1]}

    monkeypatch.setattr(tune, "choose", careless)
    retrain(project, elastic_net=settings)
    verdict, reasons = judged(project)
    assert verdict == "block"
    assert reason in reasons


@pytest.mark.parametrize("name", ["mean", "single_feature"])
def test_a_baseline_is_blocked(
    project: Project, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot beat itself."""
    from mlref.training import tune

    honest = tune.choose

    def careless(results: list[dict[str, Any]], folds: int) -> dict[str, Any]:
        chosen = next(result for result in results if result["model"] == name)
        return honest(results, folds) | {"chosen": chosen}

    monkeypatch.setattr(tune, "choose", careless)
    run_model(project)
    verdict, reasons = judged(project)
    assert verdict == "block"
    assert f"The chosen model is no more than the baseline {name}." in reasons


def test_a_worse_model_is_blocked(project: Project) -> None:
    """The champion stays."""
    crown(project)
    retrain(project, **RIVALS["worse"])
    verdict, reasons = judged(project)
    assert verdict == "block"
    assert "It is worse than the champion by" in reasons


def test_a_model_that_is_better_by_luck_is_not_promoted(project: Project) -> None:
    """Equal but for chance: the champion stays, and the reason says that the rows cannot tell."""
    crown(project)
    retrain(project, **RIVALS["tied"])
    verdict, reasons = judged(project)
    assert verdict == "keep"
    assert "The held-out rows cannot tell it from the champion" in reasons


def test_two_equal_models_do_not_take_turns(project: Project) -> None:
    """Neither replaces the other."""
    retrain(project, **RIVALS["tied"])
    crown(project)
    run_model(project)
    assert judged(project)[0] == "keep"


def test_the_champion_itself_is_kept(project: Project) -> None:
    """Nothing changes."""
    crown(project)
    assert judged(project) == ("keep", "It predicts the same as the champion.")


@pytest.mark.parametrize(
    ("promise", "reason"),
    [
        ("kind: monotone, column: rooms, direction: decreasing", "decreasing with rooms"),
        ("kind: invariant, column: area, tolerance: 100", "invariant to area"),
        ("kind: bounded, range: [0, 1500]", "predictions stay between 0 and 1500"),
    ],
)
def test_a_broken_promise_is_blocked(tmp_path: Path, promise: str, reason: str) -> None:
    """The sentence names it."""
    text = f"{RENTS_TEXT}  - {{{promise}, reason: planted}}\n"
    verdict, reasons = judged(from_data(tmp_path, rents_as_they_are, contract=text))
    assert verdict == "block"
    assert f"It breaks its promise ({reason})" in reasons


def rents_as_they_are(frame: pd.DataFrame) -> pd.DataFrame:
    """Nothing planted in the data."""
    return frame


def test_training_rows_among_the_held_out_ones_stop_the_evaluation(project: Project) -> None:
    """Before any figure is written."""
    train, holdout = read_parquet(project.train), read_parquet(project.holdout)
    write_parquet(project.holdout, pd.concat([train[:3], holdout]))
    with pytest.raises(DataError, match="row 0 is also in train.parquet"):
        evaluate.run(project)


def test_a_target_copied_into_a_feature_stops_the_validation(project: Project) -> None:
    """Its near-perfect correlation is the sign."""
    leaked = rents().assign(balcony=lambda frame: frame["rent"] / 200)
    with pytest.raises(DataError, match="column 'balcony' follows the target 'rent'"):
        check_leakage(load(project.contract), leaked, 0.99)
