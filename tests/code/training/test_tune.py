"""Stage 4: the ladder of candidates."""

import os
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from mlref.core.errors import SettingsError
from mlref.core.rows import Array
from mlref.core.storage import Project, read_json
from mlref.training import nested, tune
from mlref.training.tune import choose
from tests.projects import set_params

SMALL: dict[str, Any] = {
    "repeats": 1,
    "trials": 12,  # of which tpe draws the first ten by lot
    "candidates": {
        "mean": {},
        "single_feature": {},
        "ridge": {"alpha": {"low": 0.01, "high": 100, "log": True, "steps": 4}},
        "gradient_boosting": {"n_estimators": [2, 3]},
    },
}
"""A search of 3 + 3 + 6 + 6 parts, with tpe 3 + 3 + 12 · 6 + 6."""


def outputs(project: Project) -> list[bytes]:
    """What the stage has written."""
    return [path.read_bytes() for path in (project.tuning, project.out_of_fold)]


def errors(*rmse: float) -> Array:
    """Errors of one candidate on the four folds of two repeats."""
    return np.array([rmse, rmse])


@pytest.mark.parametrize(
    ("found", "wins"),
    [
        ({"a": errors(10, 10, 10, 10)}, "a"),
        ({"a": errors(12, 12, 12, 12), "b": errors(7, 13, 7, 13)}, "b"),  # limit 11.5
        ({"a": errors(11.4, 11.4, 11.4, 11.4), "b": errors(7, 13, 7, 13)}, "a"),
        ({"a": errors(11.5, 11.5, 11.5, 11.5), "b": errors(7, 13, 7, 13)}, "a"),  # at the limit
        (
            {"a": errors(11, 11, 11, 11), "b": errors(10.5, 10, 10, 10), "c": errors(7, 13, 7, 13)},
            "a",
        ),
        (
            {"a": errors(12, 12, 12, 12), "b": errors(11, 11, 11, 11), "c": errors(7, 13, 7, 13)},
            "b",
        ),
        (
            {"a": errors(2, 21, 2, 21), "b": errors(9, 11, 9, 11)},
            "b",
        ),  # the best one's error counts
        ({"a": errors(10, 10, 10, 10), "b": errors(10, 10, 10, 10)}, "a"),
    ],
)
def test_the_simplest_candidate_within_one_standard_error_wins(
    found: dict[str, Array], wins: str
) -> None:
    """The limit is the lowest RMSE plus its deviation by the root of the four folds of a repeat."""
    assert choose(found)["model"] == wins


def test_the_choice_tells_its_figures() -> None:
    """The lowest candidate, its standard error and the limit."""
    choice = choose({"a": errors(11, 11, 11, 11), "b": errors(7, 13, 7, 13)})
    assert choice == {"model": "a", "lowest": "b", "standard_error": 1.5, "limit": 11.5}


def test_tuning_twice_gives_equal_files(project: Project) -> None:
    """To the byte."""
    before = outputs(project)
    tune.run(project)
    assert outputs(project) == before


@pytest.mark.parametrize("sampler", ["grid", "quasi_random", "tpe"])
def test_two_processes_give_the_files_of_one(sampler: str, project: Project) -> None:
    """To the byte, whichever finishes a fit first."""
    set_params(project, tune=SMALL | {"sampler": sampler})
    said = tune.run(project)
    before = outputs(project)
    assert tune.run(project, jobs=2) == said
    assert outputs(project) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from mlref.core.storage import Project
from mlref.training import tune

def killed(fits):
    for fit in fits:
        if fit == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        yield fit

tune.run(Project(Path(sys.argv[1])), killed, jobs=int(sys.argv[3]))
"""
"""Tunes, and is killed after so many fits."""


@pytest.mark.parametrize(
    ("sampler", "fits", "jobs"), [("grid", 20, 1), ("quasi_random", 20, 2), ("tpe", 75, 1)]
)
def test_a_killed_search_goes_on_where_it_stood_and_ends_with_the_same_files(
    sampler: str, fits: int, jobs: int, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was finished is not fitted again, and the earlier files stay until the end."""
    before = outputs(project)
    set_params(project, tune=SMALL | {"sampler": sampler})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(project.root), str(fits), str(jobs)], env=environment
    )
    assert done.returncode == -signal.SIGKILL
    assert outputs(project) == before
    kept = len(list(project.journal.rglob("output.pkl")))
    assert kept >= 8

    built: list[str] = []
    plain = nested.build

    def build(*given: Any) -> Any:
        built.append(given[1])
        return plain(*given)

    monkeypatch.setattr(nested, "build", build)
    tune.run(project)
    resumed, after = outputs(project), len(built)
    assert not project.journal.exists()
    tune.run(project)
    assert outputs(project) == resumed
    assert len(built) == 2 * after + kept  # a run from the start builds what was kept, and the rest


def test_a_search_over_other_rows_takes_nothing_from_the_one_before(project: Project) -> None:
    """A search that was killed before the rows changed has nothing to say about them."""
    knobs = tune.settings.load(project.params).tune
    before = tune.inputs(project, knobs)
    assert tune.inputs(project, knobs.model_copy(update={"repeats": 9})) == before
    assert tune.inputs(project, knobs.model_copy(update={"seed": 9})) != before
    project.train.write_bytes(project.holdout.read_bytes())
    assert tune.inputs(project, knobs) != before


def test_the_stage_writes_what_it_tried_and_what_it_chose(trained: Project) -> None:
    """The choice refers to a trial, and the table has a column for each candidate."""
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


def test_a_candidate_is_quoted_with_its_nested_figures(trained: Project) -> None:
    """Without a choice they are those of its one trial; each fold tells which trial it chose."""
    tuning = read_json(trained.tuning)
    mean, net = tuning["candidates"]["mean"], tuning["candidates"]["elastic_net"]
    assert {name: mean[name] for name in ("rmse", "rmse_std")} == {
        name: tuning["trials"][0][name] for name in ("rmse", "rmse_std")
    }
    assert (mean["chosen"], net["chosen"]) == ({"0": 6}, {"3": 6})
    assert tuning["limit"] == pytest.approx(net["rmse"] + net["rmse_std"] / 3**0.5, rel=1e-5)
    assert tuning["standard_error"] == pytest.approx(net["rmse_std"] / 3**0.5, rel=1e-5)


def test_the_best_of_many_useless_settings_is_not_quoted_as_better_than_it_is(
    project: Project,
) -> None:
    """The lowest plain error of a search is too good; the nested one is not lower."""
    grown = {"n_estimators": [3], "max_features": [1], "min_samples_leaf": [1, 2, 3, 5, 8]}
    ladder = {"mean": {}, "single_feature": {}, "random_forest": grown}
    set_params(project, tune={"candidates": ladder})
    tune.run(project)
    tuning = read_json(project.tuning)
    forest = tuning["candidates"]["random_forest"]
    assert len(forest["chosen"]) > 1
    assert forest["rmse"] > tuning["trials"][forest["trial"]]["rmse"]


def test_progress_sees_every_fit(project: Project) -> None:
    """The caller may wrap their numbers: three folds twice, and pairs of folds where there is a choice."""
    seen: list[int] = []

    def note(work: list[int]) -> Any:
        assert work == list(range(6 + 6 + 2 * (6 + 6)))
        for number in work:
            seen.append(number)
            yield number

    assert "4 trials; elastic_net(alpha=0.01, l1_ratio=0.5) wins at RMSE" in tune.run(project, note)
    assert len(seen) == 36


LADDER: dict[str, Any] = {"mean": {}, "single_feature": {}}


@pytest.mark.parametrize(
    ("knob", "said"),
    [
        (
            {"candidates": {"ridge": {}} | LADDER},
            "tune.candidates: begins with mean and single_feat",
        ),
        (
            {"candidates": LADDER | {"magic": {}}},
            "tune.candidates.magic: allowed: mean, single_feat",
        ),
        ({"candidates": LADDER | {"ridge": {"alfa": [1]}}}, "tune.candidates.ridge: .* 'alfa'"),
        (
            {"candidates": LADDER | {"elastic_net_interactions": {"degree": [1]}}},
            "tune.candidates.elastic_net_interactions: .* 'degree'",
        ),
        (
            {"candidates": LADDER | {"ridge": {"alpha": [1, -1]}}},
            "tune.candidates.ridge: {'alpha': -1}: The 'alpha' parameter of Ridge must be a float in",
        ),
        (
            {"candidates": LADDER | {"ridge": {"alpha": ["high"]}}},
            "tune.candidates.ridge: {'alpha': 'high'}: The 'alpha' parameter of Ridge must be",
        ),
        ({"folds": 91}, "tune.folds: got 91; allowed: up to 90, the training rows"),
    ],
    ids=str,
)
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_setting_that_cannot_work_is_refused_and_nothing_is_written(
    knob: dict[str, Any], said: str, jobs: int, project: Project
) -> None:
    """Whoever finds it, the refusal is about params.yaml, and the earlier tuning stays."""
    set_params(project, tune=knob)
    before = outputs(project)
    with pytest.raises(SettingsError, match=f"config/params.yaml has 1 mistake:\n  {said}"):
        tune.run(project, jobs=jobs)
    assert outputs(project) == before
