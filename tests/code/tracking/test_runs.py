"""Runs are searched in MLflow's own language; its refusals are told."""

import shlex
from pathlib import Path

import mlflow
import pytest

from mlref.core.errors import EnvironmentFault, MlrefError
from mlref.core.storage import Project
from mlref.tracking import runs


def test_runs_come_in_the_order_that_is_asked_for_and_know_their_parent(
    registered: Project,
) -> None:
    rising = runs.search(registered, "rents", order=["metrics.cv_rmse"])
    assert rising["metrics.cv_rmse"].is_monotonic_increasing
    parents = rising[rising["parent"].isna()]
    assert len(parents) == 1 and set(rising["parent"].dropna()) == set(parents["run_id"])
    assert len(runs.search(registered, condition='params.model = "elastic_net"')) == 3


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
        runs.search(registered, "rents", condition, order)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"MLflow cannot read this search: {reason}")
    words = shlex.split(second)
    example = words[words.index("--filter") + 1], [words[words.index("--sort") + 1]]
    runs.search(registered, "rents", *example)


def test_a_deleted_run_is_found_only_where_it_is_asked_for(published: Project) -> None:
    (run_id,) = runs.search(published, condition="run_name = 'mean 00'")["run_id"]
    for act, deleted in ((runs.delete, True), (runs.restore, False)):
        act(published, [run_id])
        assert (run_id in set(runs.search(published, deleted=True)["run_id"])) == deleted
        assert (run_id in set(runs.search(published)["run_id"])) != deleted


def test_a_run_has_files(registered: Project) -> None:
    (run_id,) = runs.search(registered, condition="metrics.rmse > 0")["run_id"]
    content = runs.text(registered, run_id, "predictions.csv")
    assert content == registered.predictions.read_text()
    assert runs.text(registered, run_id, "other.csv") is None


@pytest.mark.parametrize("address", [None, "sqlite:///other.db"])
def test_looking_for_runs_makes_no_store(
    address: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(MlrefError, match="There are no runs yet: run `make train`."):
        runs.search(Project(tmp_path), "rents")
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_that_is_not_there_is_refused(registered: Project) -> None:
    with pytest.raises(MlrefError, match="no experiment 'other'; there are: .*rents"):
        runs.search(registered, "other")


def test_a_store_that_fails_in_a_search_is_no_mistake_of_the_user(
    registered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise mlflow.exceptions.MlflowException("the disk is full")

    monkeypatch.setattr(mlflow, "search_runs", full)
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        runs.search(registered, "rents")
