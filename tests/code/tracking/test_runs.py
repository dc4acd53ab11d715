"""Runs are searched in MLflow's own language, named in short ways, deleted and restored."""

import shlex
from pathlib import Path

import pytest

from mlref.bundle.store import Store
from mlref.core.errors import EnvironmentFault, MlrefError, RunNotFound
from mlref.core.storage import Project
from mlref.tracking import runs
from mlref.tracking.store import experiment, open_store

TRIALS = ["elastic_net 02", "elastic_net 03", "mean 00", "single_feature 01"]


@pytest.fixture
def parent(registered: Project) -> str:
    """Id of the run of the registered model."""
    return str(Store(registered.store).records()[0]["run_id"])


@pytest.mark.parametrize(
    ("condition", "trials", "expected"),
    [
        ("", True, 5),
        ("   ", False, 1),
        ('params.model = "elastic_net"', True, 3),
        ('params.model = "elastic_net"', False, 1),
        ("metrics.cv_rmse > 0", True, 5),
        ("metrics.rmse < 0", True, 0),
    ],
)
def test_runs_are_found_by_a_condition(
    condition: str, trials: bool, expected: int, registered: Project
) -> None:
    found = runs.search(registered, "rents", condition, trials=trials)
    assert len(found) == expected


def test_runs_come_in_the_order_that_is_asked_for(registered: Project) -> None:
    rising = runs.search(registered, "rents", order=["metrics.cv_rmse"])
    assert rising["metrics.cv_rmse"].is_monotonic_increasing
    best = runs.search(registered, "rents", order=["metrics.cv_rmse"], limit=2)
    assert list(best["run_id"]) == list(rising["run_id"][:2])


@pytest.mark.parametrize(
    ("condition", "order", "reason"),
    [
        ("rmse < 60", [], "Invalid attribute key 'rmse' specified"),
        ("metrics.rmse <", [], "Invalid clause(s) in filter string: 'metrics.rmse', '<'"),
        ("metrics.rmse < 'low'", [], "Expected numeric value type for metric"),
        ("'", [], "Invalid clause(s) in filter string"),
        ("", ["metrics.rmse DOWN"], "Invalid ordering key in order_by clause"),
    ],
)
def test_a_mistake_in_a_search_is_told_with_mlflows_reason(
    condition: str, order: list[str], reason: str, registered: Project
) -> None:
    with pytest.raises(MlrefError) as caught:
        runs.search(registered, "rents", condition, order, trials=False)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"MLflow cannot read this search: {reason}")
    words = shlex.split(second)
    example = words[words.index("--filter") + 1], [words[words.index("--sort") + 1]]
    runs.search(registered, "rents", *example)


def test_a_run_is_named_by_its_id_the_start_of_it_or_its_name(
    registered: Project, parent: str
) -> None:
    found = [runs.find(registered, word) for word in (parent, parent[:6], parent[:20])]
    assert {run["run_id"] for run in found} == {parent}
    assert runs.find(registered, runs.name(found[0]))["run_id"] == parent
    assert runs.find(registered, "mean 00")["params.model"] == "mean"


@pytest.mark.parametrize(
    "reference", ["nothing", "", "it's", 'a "quote"', "%", "ffffffffff", "a'b\"c", "abcde"]
)
def test_a_run_that_is_not_there_is_refused(reference: str, registered: Project) -> None:
    with pytest.raises(RunNotFound):
        runs.find(registered, reference)


def test_a_name_of_two_runs_is_refused_with_their_ids(published: Project) -> None:
    with open_store(published) as client:
        place = experiment(published, client, "rents", "")
        twin = client.create_run(place, run_name="mean 00").info.run_id
    with pytest.raises(RunNotFound, match=f"names 2 runs(?s:.*){twin}"):
        runs.find(published, "mean 00")


def test_a_deleted_run_is_found_only_where_it_is_asked_for(published: Project) -> None:
    run_id = runs.find(published, "mean 00")["run_id"]
    runs.delete(published, run_id)
    with pytest.raises(RunNotFound):
        runs.find(published, "mean 00")
    assert not runs.is_finished(published, run_id)
    assert runs.find(published, "mean 00", deleted=True)["run_id"] == run_id
    runs.restore(published, run_id)
    assert runs.find(published, "mean 00")["run_id"] == run_id


def test_a_run_has_trials_a_version_and_files(registered: Project, parent: str) -> None:
    assert sorted(map(runs.name, runs.children(registered, parent))) == TRIALS
    assert runs.children(registered, parent, deleted=True) == []
    assert runs.versions(registered, "rents") == {parent: "1"}
    content = runs.text(registered, parent, "predictions.csv")
    assert content == registered.predictions.read_text()
    assert runs.text(registered, parent, "other.csv") is None


@pytest.mark.parametrize("address", [None, "sqlite:///other.db"])
def test_looking_for_runs_makes_no_store(
    address: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(MlrefError, match="There are no runs yet: run `make train`."):
        runs.search(Project(tmp_path), "rents")
    with pytest.raises(RunNotFound):
        runs.find(Project(tmp_path), "any")
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_that_is_not_there_is_refused(registered: Project) -> None:
    with pytest.raises(MlrefError, match="no experiment 'other'; there are: .*rents"):
        runs.search(registered, "other")


def test_a_store_that_fails_in_a_search_is_no_mistake_of_the_user(
    registered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    def full(*_: object, **__: object) -> None:
        raise mlflow.exceptions.MlflowException("the disk is full")

    monkeypatch.setattr(mlflow, "search_runs", full)
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        runs.search(registered, "rents")
