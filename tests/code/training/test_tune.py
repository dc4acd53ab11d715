"""Stage 4: the candidates are compared, and the simplest of the good ones is chosen."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from mlref.core.errors import DataError, SettingsError
from mlref.core.rows import Array
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, read_json
from mlref.data.folds import sample
from mlref.training import cost, nested, tune
from mlref.training.tune import not_beaten
from tests.projects import set_params

BASELINES: dict[str, Any] = {"mean": {}, "single_feature": {}}


def outputs(project: Project) -> list[bytes]:
    """What the stage has written."""
    return [path.read_bytes() for path in (project.tuning, project.out_of_fold)]


GENERATOR = np.random.default_rng(3)
SIMPLE = GENERATOR.normal(0, 10, 200) ** 2
OTHER = GENERATOR.normal(0, 10, 200) ** 2


@pytest.mark.parametrize(
    ("found", "simpler"),
    [
        ([SIMPLE, SIMPLE], [[], ["a"]]),
        ([SIMPLE, SIMPLE - 0.1], [[], []]),  # by little, and surely
        ([SIMPLE, OTHER - 3], [[], ["a"]]),  # by more, and by luck
        ([SIMPLE, SIMPLE - 2, OTHER - 3], [[], [], ["a", "b"]]),
        ([SIMPLE, OTHER - 3, SIMPLE - 60], [[], ["a"], []]),
    ],
)
def test_a_candidate_is_shown_to_beat_a_simpler_one_in_pairs(
    found: list[Array], simpler: list[list[str]]
) -> None:
    assert [*not_beaten(dict(zip("abc", found))).values()] == simpler


def test_of_two_equal_candidates_the_second_is_seldom_shown_to_be_better() -> None:
    pairs = GENERATOR.normal(0, 10, (1000, 2, 80)) ** 2
    shown = [not not_beaten({"a": one, "b": other})["b"] for one, other in pairs]
    assert np.mean(shown) == pytest.approx(0.025, abs=0.015)


def test_what_does_not_beat_a_simpler_candidate_does_not_win_with_the_lowest_error(
    project: Project,
) -> None:
    """The gate would refuse it, and nothing would be served."""
    nets = {"elastic_net": {"alpha": [0.01]}, "ridge": {"alpha": [0.1]}}
    set_params(project, tune={"candidates": BASELINES | nets})
    said, tuning = tune.run(project), read_json(project.tuning)
    assert (tuning["model"], tuning["lowest"]) == ("elastic_net", "ridge")
    assert tuning["candidates"]["ridge"]["does_not_beat"] == ["elastic_net"]
    assert "; ridge at " in said and "is not shown to beat elastic_net" in said


class Killed(BaseException):
    """The process ends here."""


def test_a_killed_search_resumes_and_a_search_done_again_gives_equal_files(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was finished is not fitted again, and the earlier files stay until the end."""
    earlier, seen = outputs(project), list[str]()

    def killed(name: str, results: Iterable[Any], count: int) -> Iterable[Any]:
        if name == "tune elastic_net":
            raise Killed
        return results

    def track(name: str, results: Iterable[Any], count: int) -> Iterable[Any]:
        seen.append(f"{name}, {count} parts")
        return results

    monkeypatch.setattr(tune, "track", killed)
    with pytest.raises(Killed):
        tune.run(project)
    assert outputs(project) == earlier
    assert len(list(project.journal.rglob("output.pkl"))) == 2 * (3 + 3)
    built: list[str] = []
    build = nested.build
    monkeypatch.setattr(nested, "build", lambda *of: built.append(of[1]) or build(*of))
    monkeypatch.setattr(tune, "track", track)
    said = tune.run(project)
    assert built == ["elastic_net"] * 2 * (3 + 3), "each fold of two rounds, and each pair of them"
    assert seen == [f"tune {name}" for name in (
        "mean, 6 parts", "single_feature, 6 parts", "elastic_net, 12 parts",
    )]  # fmt: skip
    assert "4 trials; elastic_net(alpha=0.01, l1_ratio=0.5) wins at RMSE" in said
    assert not project.journal.exists()
    assert outputs(project) == earlier


@pytest.mark.load  # two processes import everything anew
def test_two_processes_give_the_files_of_one(project: Project) -> None:
    earlier = outputs(project)
    tune.run(project, jobs=2)
    assert outputs(project) == earlier


def test_a_search_over_other_rows_takes_nothing_from_the_one_before(project: Project) -> None:
    settings = load_settings(project.params).tune
    before = tune.inputs(project, settings)
    assert tune.inputs(project, settings.model_copy(update={"repeats": 9})) == before
    assert tune.inputs(project, settings.model_copy(update={"seed": 9})) != before
    project.train.write_bytes(project.holdout.read_bytes())
    assert tune.inputs(project, settings) != before


def test_the_stage_writes_what_it_tried_and_what_it_chose(trained: Project) -> None:
    """A candidate is quoted with its nested scores; without a choice these are of its one trial."""
    tuning = read_json(trained.tuning)
    trials, mean, net = tuning["trials"], *map(tuning["candidates"].get, ("mean", "elastic_net"))
    assert (tuning["model"], tuning["lowest"]) == ("elastic_net", "elastic_net")
    assert [trial["trial"] for trial in trials] == [0, 1, 2, 3]
    assert (mean["trial"], net["trial"]) == (0, 3)
    assert tuning["parameters"] == trials[3]["parameters"] == {"alpha": 0.01, "l1_ratio": 0.5}
    assert (mean["rmse"], mean["rmse_std"]) == (trials[0]["rmse"], trials[0]["rmse_std"])
    assert (mean["chosen"], net["chosen"]) == ({"0": 6}, {"3": 6})
    assert (mean["does_not_beat"], net["does_not_beat"]) == ([], [])
    lines = trained.out_of_fold.read_text().splitlines()
    assert lines[0] == "actual,mean,single_feature,elastic_net"
    assert len(lines) == 1 + 90


def test_the_best_of_many_useless_settings_is_not_quoted_as_better_than_it_is(
    project: Project,
) -> None:
    """The lowest plain error of a search is too good; the nested one is not lower."""
    grown = {"n_estimators": [3], "max_features": [1], "min_samples_leaf": [1, 2, 3, 5, 8]}
    set_params(project, tune={"candidates": BASELINES | {"random_forest": grown}})
    tune.run(project)
    tuning = read_json(project.tuning)
    forest = tuning["candidates"]["random_forest"]
    assert len(forest["chosen"]) > 1
    assert forest["rmse"] > tuning["trials"][forest["trial"]]["rmse"]


@pytest.mark.parametrize(
    ("candidates", "said"),
    [
        ({"mean": {}, "ridge": {}}, "tune.candidates: begins with mean and single_feature"),
        (BASELINES | {"magic": {}}, "tune.candidates.magic: allowed: mean, single_feature"),
        (BASELINES | {"ridge": {"alfa": [1]}}, "tune.candidates.ridge: .* 'alfa'"),
        (BASELINES | {"ridge": {"alpha": [1, -1]}}, "tune: ridge: {'alpha': -1}: The 'alpha'"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_work_is_refused_and_nothing_is_written(
    candidates: dict[str, Any], said: str, project: Project
) -> None:
    """Whoever finds it, the refusal is about params.yaml."""
    set_params(project, tune={"candidates": candidates})
    before = outputs(project)
    with pytest.raises(SettingsError, match=f"config/params.yaml has 1 mistake:\n  {said}"):
        tune.run(project)
    assert outputs(project) == before


@pytest.mark.parametrize(
    ("tried", "best", "found"),
    [
        ([1, 10, 100], 100, ["x=100"]),
        ([0.01, 0.1, 10], 0.01, ["x=0.01"]),
        ([1, 10, 100], 10, []),
        ([0, 2, 4], 0, []),  # there is nothing beyond
        ([1, 2, 3], 1, []),
        ([10, 100], 100, []),  # of two values each is the last
        ([None, 5, 10, 20], None, []),
        (["auto", "sag", "svd"], "auto", []),
    ],
)
def test_a_best_setting_at_the_edge_of_its_grid_is_named(
    tried: list[Any], best: Any, found: list[str]
) -> None:
    assert tune.at_edge([{"x": value} for value in tried], {"x": best}) == found


def test_the_stage_says_which_grid_is_to_be_widened(project: Project) -> None:
    candidates = BASELINES | {"elastic_net": {"alpha": [0.1, 0.5, 3.0]}}
    set_params(project, tune={"repeats": 1, "candidates": candidates})
    line = "\n  elastic_net is best with alpha=0.1, the last value that was tried: widen its range."
    assert line in tune.run(project)
    assert "alpha=0.1" in read_json(project.tuning)["candidates"]["elastic_net"]["at_edge"]


def test_more_folds_than_rows_are_refused(project: Project) -> None:
    set_params(project, tune={"folds": 91})
    with pytest.raises(DataError, match="90 different rows are too few for 91 folds"):
        tune.run(project)


SLOW = BASELINES | {
    "elastic_net_interactions": {"alpha": [1.0]},
    "gradient_boosting": {"n_estimators": [2]},
    "ridge": {"alpha": [1.0]},
}


def test_a_large_table_says_its_cost_and_leaves_out_what_does_not_fit(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too slow, too large; the others are compared on a sample, and the model is fitted to all rows."""
    monkeypatch.setattr(cost, "SLOW", {"gradient_boosting": 50})
    monkeypatch.setattr(cost, "LARGE", 50)
    monkeypatch.setattr(tune, "sample", lambda frame, rows, seed: sample(frame, 60, seed))
    set_params(project, tune={"candidates": SLOW, "memory": 2e-5})
    told = list[str]()
    monkeypatch.setattr(tune, "progress", told.append)
    tune.run(project)
    assert told[0].startswith("90 rows to train on; candidates are compared on 90 (tune.rows)")
    assert "  gradient_boosting is left out: slow beyond 50 rows; hist_gradient_boosting" in told[4]
    assert told[3] == (
        "  elastic_net_interactions is left out: a fit needs 4.5e-05 GB; tune.memory allows 2e-05"
    )
    assert told[5].startswith("  ridge: 6 columns after encoding, 0.00 GB, ")
    assert {*read_json(project.tuning)["candidates"]} == {"mean", "single_feature", "ridge"}
    assert len(project.out_of_fold.read_text().splitlines()) == 1 + 60


def test_a_table_that_fits_nothing_is_refused_before_anything_is_fitted(project: Project) -> None:
    set_params(project, tune={"memory": 1e-6})
    with pytest.raises(
        DataError, match="90 rows × 6 columns after encoding: a fit needs 1.3e-05 GB"
    ):
        tune.run(project)
