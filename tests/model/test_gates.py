"""Gates that go red: each test plants a fault, and it is refused for its reason.

Faults in data and code go through the stages, faults in figures to the gate itself.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from mlref.bundle import package
from mlref.bundle.predictor import Predictor
from mlref.core import settings, task
from mlref.core.contract import parse
from mlref.core.errors import BundleError, DataError
from mlref.core.rows import Array
from mlref.core.storage import Project
from mlref.data.tables import encode, read_parquet, write_parquet
from mlref.data.validate import check_leakage, check_usual
from mlref.evaluation import evaluate
from mlref.evaluation.compare import Comparison, compare
from mlref.evaluation.slices import slices
from mlref.features import preprocessing
from mlref.registry.duel import better, not_worse, nowhere_worse, strict
from mlref.registry.gate import conclude
from mlref.registry.register import decision
from mlref.training import train, tune
from mlref.training.candidates import BASELINES
from tests.projects import (
    PARAMS,
    RENTS_TEXT,
    RIVALS,
    crown,
    only_what_the_gate_reads,
    rents,
    retrain,
    run_data,
    run_model,
    set_params,
    write_project,
)

CONTRACT = parse(RENTS_TEXT)
LIMITS = settings.Gate(**PARAMS["register"])


@pytest.fixture(autouse=True)
def nothing_for_the_eye(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate reads neither what a feature is worth nor a picture."""
    only_what_the_gate_reads(monkeypatch)


@pytest.fixture
def project(project: Project) -> Project:
    """A trained project to change, whose candidates are compared in one round."""
    set_params(project, tune={"repeats": 1})
    return project


def judged(project: Project) -> tuple[str, str]:
    """Verdict and reasons about a project's bundle."""
    gate = decision(project)
    return gate["verdict"], "\n".join(gate["reasons"])


def train_again(project: Project, evaluated: bool = True) -> None:
    """The stages from training on."""
    for stage in (train, package, *([evaluate] if evaluated else [])):
        stage.run(project)


def test_nothing_planted_is_promoted(project: Project) -> None:
    assert judged(project)[0] == "promote"
    retrain(project, **RIVALS["worse"])
    crown(project)
    retrain(project, **PARAMS["tune"]["candidates"])
    verdict, reasons = judged(project)
    assert verdict == "promote"
    assert "beats the champion" in reasons


# Faults in the data.


def shuffled_target(frame: pd.DataFrame) -> pd.DataFrame:
    """The target of other rows."""
    order = np.random.default_rng(0).permutation(len(frame))
    return frame.assign(rent=frame["rent"].to_numpy()[order])


def noised_target(frame: pd.DataFrame) -> pd.DataFrame:
    """A target that is nearly all noise."""
    noise = np.random.default_rng(0).normal(0, 9000, len(frame))
    return frame.assign(rent=(frame["rent"] + noise).clip(0, 20000))


def leaking(frame: pd.DataFrame) -> pd.DataFrame:
    """A feature to which a tenth of the target was added."""
    return frame.assign(area=frame["area"] + frame["rent"] / 10)


def from_data(folder: Path, frame: pd.DataFrame, contract: str = RENTS_TEXT) -> Project:
    """A project after all stages."""
    project = write_project(folder, contract, frame)
    set_params(project, tune={"repeats": 1})
    run_data(project)
    run_model(project)
    return project


@pytest.mark.parametrize("fault", [shuffled_target, noised_target])
def test_a_target_without_a_signal_is_blocked(
    fault: Callable[[pd.DataFrame], pd.DataFrame], tmp_path: Path
) -> None:
    verdict, reasons = judged(from_data(tmp_path, fault(rents())))
    assert verdict == "block"
    assert "does not beat the baseline" in reasons or "no more than the baseline" in reasons


def test_a_target_copied_into_a_feature_stops_the_validation() -> None:
    leaked = rents().assign(balcony=lambda frame: frame["rent"] / 200)
    with pytest.raises(DataError, match="column 'balcony' follows the target 'rent'"):
        check_leakage(CONTRACT, leaked, 0.99)


def test_two_columns_that_give_the_target_together_stop_the_validation() -> None:
    """Neither is a copy of it."""
    leaked = rents().assign(rent=lambda frame: 10 * frame["area"] + 300 * frame["rooms"])
    check_leakage(CONTRACT, rents(), 0.999)
    with pytest.raises(
        DataError, match="'area' follows .* given the others, a partial corr.* 1.0000"
    ):
        check_leakage(CONTRACT, leaked, 0.999)


def later(project: Project, frame: pd.DataFrame) -> tuple[str, str]:
    """The verdict after the source has changed, with the same recipe."""
    frame.to_csv(project.root / "data" / "source" / "rents.csv", index=False)
    run_data(project)
    run_model(project)
    return judged(project)


NAMED = RENTS_TEXT + "identity: [flat]\n"


def test_a_tenth_of_the_target_in_a_feature_is_a_leak_by_name(tmp_path: Path) -> None:
    """The rows are the same flats, so that everything else speaks for the new model."""
    frame = rents().assign(flat=lambda frame: [f"flat {row}" for row in range(len(frame))])
    project = from_data(tmp_path, frame, NAMED)
    crown(project)
    verdict, reasons = later(project, leaking(frame))
    assert verdict == "keep"
    assert reasons.startswith("Given the other columns, these tell more of rent than they told the")
    assert "(partial correlation): area 0.99" in reasons and "rooms" not in reasons


def test_a_column_that_was_corrected_is_no_test_of_what_has_learned_it(project: Project) -> None:
    crown(project)
    verdict, reasons = later(project, rents().assign(area=lambda frame: frame["area"] + 0.1))
    assert verdict == "keep"
    assert "0 of 90 rows that the champion trained on are still here as they were" in reasons


def test_a_leak_is_named_also_where_the_rows_do_not_match(project: Project) -> None:
    crown(project)
    verdict, reasons = later(project, leaking(rents()))
    assert verdict == "keep"
    assert "0 of 90 rows" in reasons and "(partial correlation): area 0.99" in reasons


def test_a_feature_in_another_unit_stops_the_validation() -> None:
    with pytest.raises(DataError, match=r"(?s)values of column 'area' .*Check the unit"):
        check_usual(CONTRACT, rents().assign(area=lambda frame: frame["area"] * 3), 0.3)


def test_a_handful_of_held_out_rows_is_not_evaluated(project: Project) -> None:
    write_parquet(project.holdout, read_parquet(project.holdout)[:5])
    with pytest.raises(DataError, match="5 rows are too few to evaluate on"):
        evaluate.run(project)


def test_a_few_held_out_rows_are_not_enough_for_a_verdict(tmp_path: Path) -> None:
    verdict, reasons = judged(from_data(tmp_path, rents(60)))
    assert verdict == "block"
    assert reasons.startswith("15 rows of the test set are too few for a verdict")


def test_training_rows_among_the_held_out_ones_stop_the_evaluation(project: Project) -> None:
    train_rows, holdout = read_parquet(project.train), read_parquet(project.holdout)
    write_parquet(project.holdout, pd.concat([train_rows[:3], holdout]))
    with pytest.raises(DataError, match="row 0 is also in train.parquet"):
        evaluate.run(project)


def test_training_rows_in_place_of_the_held_out_ones_are_blocked(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(project.holdout, read_parquet(project.train)[:40])
    monkeypatch.setattr(evaluate, "check_disjoint", lambda *_: None)
    evaluate.run(project)
    verdict, reasons = judged(project)
    assert verdict == "block"
    assert "The evaluation is of another model or rows: the test set changed" in reasons


@pytest.mark.parametrize("change", ["rows", "seed"])
def test_a_model_of_other_rows_than_the_present_ones_is_blocked(
    project: Project, change: str
) -> None:
    if change == "rows":
        rents(140).to_csv(project.root / "data" / "source" / "rents.csv", index=False)
    else:
        set_params(project, split={"seed": 5})
    run_data(project)
    verdict, reasons = judged(project)
    assert verdict == "block"
    assert "the test set and the training rows changed. Run `make train`." in reasons


# Faults in the code that trains, and in its settings.


def careless(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """A choice that takes one model, however bad it is."""

    def not_beaten(losses: dict[str, Array]) -> dict[str, list[str]]:
        return {name: [model] if name != model else [] for name in losses}

    monkeypatch.setattr(tune, "not_beaten", not_beaten)


@pytest.mark.parametrize("mixture", [1.0, 0.0])
def test_a_constant_model_is_blocked(
    project: Project, mixture: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    careless(monkeypatch, "elastic_net")
    retrain(project, elastic_net={"alpha": [1e6], "l1_ratio": [mixture]})
    verdict, reasons = judged(project)
    assert verdict == "block"
    assert "It does not beat the baseline mean" in reasons


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_blocked(
    project: Project, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    careless(monkeypatch, name)
    run_model(project)
    verdict, reasons = judged(project)
    assert verdict == "block"
    assert f"The chosen model is no more than the baseline {name}." in reasons


def test_complexity_that_is_not_earned_is_blocked(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    careless(monkeypatch, "elastic_net")
    ridge, net = {"alpha": [0.1]}, {"alpha": [0.01], "l1_ratio": [0.5]}
    retrain(project, ridge=ridge, elastic_net=net)
    verdict, reasons = judged(project)
    assert verdict == "block"
    assert "It does not beat the simpler ridge out of fold with confidence" in reasons


def a_feature_shuffled(features: Array, target: Array) -> tuple[Array, Array]:
    """The first column of other rows."""
    features[:, 0] = np.random.default_rng(0).permutation(features[:, 0])
    return features, target


def a_sign_flipped(features: Array, target: Array) -> tuple[Array, Array]:
    """The first column times minus one."""
    features[:, 0] *= -1
    return features, target


def another_unit(features: Array, target: Array) -> tuple[Array, Array]:
    """The first column a hundred times as large as when it is served."""
    features[:, 0] *= 100
    return features, target


def noised_labels(features: Array, target: Array) -> tuple[Array, Array]:
    """Labels with an error as large as their spread."""
    return features, target + np.random.default_rng(0).normal(0, target.std(), len(target))


@pytest.mark.parametrize("fault", [a_feature_shuffled, a_sign_flipped, another_unit, noised_labels])
def test_a_model_that_was_trained_on_something_else_is_blocked(
    project: Project, fault: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    crown(project)
    monkeypatch.setattr(train, "encode", lambda *given: fault(*encode(*given)))
    train_again(project)
    verdict, reasons = judged(project)
    assert verdict == "block"
    assert "It is worse than the champion by" in reasons


def test_intervals_that_are_too_narrow_are_blocked(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = task.conformal_width
    monkeypatch.setattr(task, "conformal_width", lambda *given: honest(*given) / 3)
    train_again(project)
    verdict, reasons = judged(project)
    assert verdict == "block"
    assert reasons.startswith("Its 90% intervals hold ") and "too narrow" in reasons


@pytest.mark.parametrize(
    ("promise", "reason"),
    [
        ("kind: monotone, column: rooms, direction: decreasing", "decreasing with rooms"),
        ("kind: invariant, column: area, tolerance: 100", "invariant to area"),
        ("kind: bounded, range: [0, 1500]", "predictions stay between 0 and 1500"),
    ],
)
def test_a_broken_promise_is_blocked(tmp_path: Path, promise: str, reason: str) -> None:
    text = f"{RENTS_TEXT}  - {{{promise}, reason: planted}}\n"
    verdict, reasons = judged(from_data(tmp_path, rents(), text))
    assert verdict == "block"
    assert f"It breaks its promise ({reason})" in reasons


def test_predictions_that_are_no_numbers_stop_the_evaluation(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Predictor, "values", lambda _, rows: np.full(len(rows), np.nan))
    with pytest.raises(BundleError):
        evaluate.run(project)


def test_figures_of_another_bundle_are_blocked(project: Project) -> None:
    set_params(project, train={"folds": 4})
    train_again(project, evaluated=False)
    verdict, reasons = judged(project)
    assert verdict == "block"
    assert "The evaluation is of another model or rows: the bundle changed" in reasons


# Against the champion.


def test_a_worse_model_is_blocked(project: Project) -> None:
    crown(project)
    retrain(project, **RIVALS["worse"])
    verdict, reasons = judged(project)
    assert verdict == "block"
    assert "It is worse than the champion by" in reasons


def test_a_tie_goes_to_the_champion_whichever_it_is(project: Project) -> None:
    for challenger in (RIVALS["tied"], PARAMS["tune"]["candidates"]):
        crown(project)
        retrain(project, **challenger)
        verdict, reasons = judged(project)
        assert verdict == "keep"
        assert "It is not shown to be better than the champion on 30 rows" in reasons
        assert "would need about" in reasons


Fit = Callable[[Array, Array], tuple[Any, Any]]


def duels(splits: int, fit: Fit) -> Iterator[tuple[Comparison, str]]:
    """Draw many test sets of 400 rents, fit challenger and champion, compare them; with the verdict."""
    encoded, target = encode(CONTRACT, rents(400))
    features = preprocessing(CONTRACT, scale=True).fit_transform(encoded)
    for seed in range(splits):
        held_out = np.random.default_rng(seed).permutation(400) < 80
        models = fit(features[~held_out], target[~held_out])
        one, other = (model.predict(features[held_out]) for model in models)
        parts = dict(slices(CONTRACT, encoded[held_out]))
        found = compare(target[held_out], one, other, parts, LIMITS, task.Regression())
        models = compare(target[held_out], one, other, {}, strict(LIMITS), task.Regression())
        checks = [better({"models": models}, LIMITS), not_worse(found, LIMITS)]
        yield found, conclude([*checks, nowhere_worse(found)]).verdict


def test_a_worse_model_with_a_lucky_split_is_hardly_ever_promoted() -> None:
    def fit(features: Array, target: Array) -> tuple[Any, Any]:
        return Ridge(2.0).fit(features, target), Ridge(0.1).fit(features, target)

    found = list(duels(100, fit))
    lucky = sum(comparison.difference["value"] < 0 for comparison, _ in found)
    promoted = sum(verdict == "promote" for _, verdict in found)
    assert promoted <= 5 < 20 < lucky


def test_two_equal_models_do_not_take_turns() -> None:
    """Equal recipes, each on half of the rows."""
    champion, turns, lower = 0, 0, 0

    def fit(features: Array, target: Array) -> tuple[Any, Any]:
        challenger, present = (
            Ridge(0.1).fit(features[half::2], target[half::2]) for half in (1 - champion, champion)
        )
        return challenger, present

    for comparison, verdict in duels(100, fit):
        lower += comparison.difference["value"] < 0
        if verdict == "promote":
            champion, turns = 1 - champion, turns + 1
    assert turns <= 10 < 30 < lower


def test_a_model_that_is_better_on_average_and_worse_on_one_slice_is_blocked() -> None:
    frame = rents(300)
    features, target = encode(CONTRACT, frame)
    noise = np.random.default_rng(0).normal(0, 60, len(target))
    challenger = target + noise / 6 + 80 * (frame["heating"] == "wood").to_numpy()
    parts = dict(slices(CONTRACT, features))
    found = compare(target, challenger, target + noise, parts, LIMITS, task.Regression())
    assert found.difference["upper"] < 0, "better on average"
    check = nowhere_worse(found)
    assert check.verdict == "block"
    assert "worse than the champion on a part of the rows: heating = wood by" in check.reason
