"""Stage 4: the ladder of candidates."""

from typing import Any

import numpy as np
import pytest

from mlref import settings
from mlref.errors import SettingsError
from mlref.rows import generate
from mlref.storage import Project, read_json
from mlref.training import tune
from mlref.training.tune import choose, cross_validate, trials
from tests.fakes import CONTRACT, linear
from tests.projects import set_params

ROWS = generate(CONTRACT, 30, seed=3)
TARGET = linear(ROWS)


def knobs(**changed: Any) -> settings.Tune:
    """Small settings of the stage."""
    return settings.Tune(
        **{"seed": 1, "folds": 3, "repeats": 2, "candidates": {"mean": {}}} | changed
    )


def result(model: str, rmse: float, std: float = 0.0, trial: int = 0) -> dict[str, Any]:
    """One trial's result."""
    return {"trial": trial, "model": model, "parameters": {}, "rmse": rmse, "rmse_std": std}


def test_trials_are_the_grids_in_the_order_of_the_file() -> None:
    """Candidates as written; inside a grid the last parameter by name turns fastest."""
    space = {
        "ridge": {"alpha": [3, 1]},
        "mean": {},
        "elastic_net": {"alpha": [1], "l1_ratio": [0, 1]},
    }
    assert trials(knobs(candidates=space)) == [
        ("ridge", {"alpha": 3}),
        ("ridge", {"alpha": 1}),
        ("mean", {}),
        ("elastic_net", {"alpha": 1, "l1_ratio": 0}),
        ("elastic_net", {"alpha": 1, "l1_ratio": 1}),
    ]


@pytest.mark.parametrize(
    ("results", "wins"),
    [
        ([result("a", 10.0)], "a"),
        ([result("a", 12.0), result("b", 10.0, std=3.0)], "b"),  # limit 11.5
        ([result("a", 11.4), result("b", 10.0, std=3.0)], "a"),
        ([result("a", 11.5), result("b", 10.0, std=3.0)], "a"),  # exactly at the limit
        ([result("a", 11.4), result("b", 11.0), result("c", 10.0, std=3.0)], "a"),
        ([result("a", 11.6), result("b", 11.4), result("c", 10.0, std=3.0)], "b"),
        (
            [result("a", 11.4, std=9.0), result("b", 10.0, std=1.0)],
            "b",
        ),  # the best one's error counts
        ([result("a", 10.0), result("b", 10.0)], "a"),
    ],
)
def test_the_simplest_candidate_within_one_standard_error_wins(
    results: list[dict[str, Any]], wins: str
) -> None:
    """The limit is the lowest RMSE plus its deviation by the root of four folds."""
    assert choose(results, folds=4)["chosen"]["model"] == wins


def test_the_best_setting_stands_for_its_candidate() -> None:
    """The first of equals; the report says which candidate is lowest, and the limit."""
    tried = [result("a", 20.0, trial=0), result("a", 11.0, trial=1), result("a", 11.0, trial=2)]
    choice = choose([*tried, result("b", 10.0, std=4.0, trial=3)], folds=4)
    assert choice["chosen"] == tried[1]
    assert choice["best"] == {"a": tried[1], "b": result("b", 10.0, std=4.0, trial=3)}
    assert (choice["lowest"], choice["limit"]) == ("b", 12.0)


def test_every_row_is_predicted_by_models_that_have_not_seen_it() -> None:
    """Out of fold, the mean of a row's own value is not in its prediction."""
    target = np.zeros(30)
    target[7] = 30.0
    errors, predictions = cross_validate(CONTRACT, "mean", {}, knobs(), ROWS, target)
    assert len(errors) == 6
    assert predictions[7] == 0
    assert predictions.sum() > 0


def test_repeats_shuffle_anew() -> None:
    """Other folds, hence other errors."""
    errors, _ = cross_validate(CONTRACT, "ridge", {}, knobs(), ROWS, TARGET)
    assert errors[:3] != errors[3:]


def test_the_out_of_fold_prediction_is_the_mean_of_the_repeats() -> None:
    """One repeat after the other, with seeds that follow each other."""
    _, both = cross_validate(CONTRACT, "ridge", {}, knobs(repeats=2), ROWS, TARGET)
    singles = [
        cross_validate(CONTRACT, "ridge", {}, knobs(repeats=1, seed=seed), ROWS, TARGET)[1]
        for seed in (1, 2)
    ]
    assert both == pytest.approx(np.mean(singles, axis=0))


def test_tuning_twice_gives_equal_files(project: Project) -> None:
    """To the byte."""
    paths = (project.tuning, project.out_of_fold, project.candidates)
    before = [path.read_bytes() for path in paths]
    tune.run(project)
    assert [path.read_bytes() for path in paths] == before


def test_the_stage_writes_what_it_tried_and_what_it_chose(trained: Project) -> None:
    """The choice refers to a trial, and the table has a column for each candidate's best."""
    tuning = read_json(trained.tuning)
    assert (tuning["model"], tuning["lowest"]) == ("elastic_net", "elastic_net")
    assert [trial["trial"] for trial in tuning["trials"]] == [0, 1, 2, 3]
    assert tuning["best"] == {"mean": 0, "single_feature": 1, "elastic_net": 3}
    assert (
        tuning["parameters"]
        == tuning["trials"][3]["parameters"]
        == {"alpha": 0.01, "l1_ratio": 0.5}
    )
    lines = trained.out_of_fold.read_text().splitlines()
    assert lines[0] == "actual,mean,single_feature,elastic_net"
    assert len(lines) == 1 + 90
    assert trained.candidates.read_text().splitlines()[0] == "model,rmse"


def test_progress_sees_every_trial(project: Project) -> None:
    """The caller may wrap the list of trials."""
    seen: list[str] = []

    def note(work: list[Any]) -> list[Any]:
        seen.extend(name for name, _ in work)
        return work

    assert "4 trials; elastic_net(alpha=0.01, l1_ratio=0.5) wins" in tune.run(project, note)
    assert seen == ["mean", "single_feature", "elastic_net", "elastic_net"]


@pytest.mark.parametrize(
    "knob",
    [
        {"candidates": {"magic": {}}},
        {"candidates": {"elastic_net": {"alfa": [1]}}},
        {"candidates": {"elastic_net": {"alpha": [-1]}}},
        {"candidates": {"elastic_net": {"alpha": ["high"]}}},
        {"candidates": {"elastic_net": {"alpha": []}}},
        {"folds": 91},
    ],
    ids=str,
)
def test_a_setting_that_cannot_work_is_refused_and_nothing_is_written(
    project: Project, knob: dict[str, Any]
) -> None:
    """Whoever finds it, the refusal is about params.yaml, and the earlier tuning stays."""
    set_params(project, tune=knob)
    before = project.tuning.read_bytes()
    with pytest.raises(SettingsError, match="tune"):
        tune.run(project)
    assert project.tuning.read_bytes() == before
