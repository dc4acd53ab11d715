"""Runs are searched in MLflow's own language, named in short ways, deleted and restored."""

import datetime
import socket
from pathlib import Path
from typing import Any

import pytest

from mlref import tracking
from mlref.bundle.store import Store
from mlref.core.errors import EnvironmentFault, MlrefError, RunNotFound
from mlref.core.storage import Project
from tests.projects import copy

TRIALS = ["elastic_net 02", "elastic_net 03", "mean 00", "single_feature 01"]


@pytest.fixture(scope="module")
def shared(registered: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A registered project, not to be changed but for its moved artefacts."""
    return copy(registered, tmp_path_factory.mktemp("runs") / "clone")


@pytest.fixture
def parent(shared: Project) -> str:
    """Id of the run of its model."""
    return str(Store(shared.store).records()[0]["run_id"])


def names(found: list[tracking.Run]) -> list[str]:
    """Their names."""
    return [run.run_name for run in found]


def test_a_run_is_all_that_mlflow_knows_of_it(shared: Project, parent: str) -> None:
    """Flat, under the names of MLflow's search."""
    with tracking.opened(shared, "rents") as runs:
        run = runs.find(parent)
    assert (run.run_id, run.status) == (parent, "FINISHED")
    assert run.start_time.tzinfo is datetime.UTC
    cells = run.cells()
    assert list(cells)[:4] == ["run_id", "run_name", "status", "start_time"]
    assert cells["params.model"] == "elastic_net"
    assert cells["metrics.rmse"] == run.metrics["rmse"] > 0
    assert cells["tags.verdict"] == "promote"


@pytest.mark.parametrize(
    ("condition", "trials", "expected"),
    [
        ("", True, 5),
        ("", False, 1),
        ("   ", False, 1),
        ('params.model = "elastic_net"', True, 3),
        ('params.model = "elastic_net"', False, 1),
        ("metrics.cv_rmse > 0", True, 4),
        ("metrics.cv_rmse > 0", False, 0),
        ("metrics.rmse < 0", True, 0),
    ],
)
def test_runs_are_found_by_a_condition(
    condition: str, trials: bool, expected: int, shared: Project
) -> None:
    """With the trials of tuning or without."""
    with tracking.opened(shared, "rents") as runs:
        assert len(runs.search(condition, trials=trials)) == expected


def test_runs_come_in_the_order_that_is_asked_for(shared: Project) -> None:
    """A run without the key comes last."""
    with tracking.opened(shared, "rents") as runs:
        rising = runs.search(order=["metrics.cv_rmse"])
        falling = runs.search(order=["metrics.cv_rmse DESC"])
        best = runs.search(order=["metrics.cv_rmse"], limit=2)
    figures = [run.metrics.get("cv_rmse", float("inf")) for run in rising]
    assert figures == sorted(figures)
    assert names(falling)[:4] == names(rising)[3::-1]
    assert best == rising[:2]


@pytest.mark.parametrize("limit", [None, 3, 4, 5])
def test_runs_of_many_pages_are_put_together(
    limit: int | None, shared: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each once."""
    monkeypatch.setattr("mlref.tracking.runs.PAGE", 2)
    with tracking.opened(shared, "rents") as runs:
        found = runs.search(order=["run_name"], limit=limit)
    assert len({run.run_id for run in found}) == len(found) == (limit or 5)


@pytest.mark.parametrize(
    ("condition", "order", "reason"),
    [
        ("rmse < 60", [], "Invalid attribute key 'rmse' specified"),
        ("metrics.rmse <", [], "Invalid clause(s) in filter string: 'metrics.rmse', '<'"),
        ("metrics.rmse < 60 or metrics.mae < 3", [], "Invalid clause(s) in filter string: 'or'"),
        ("metrics.rmse < 'low'", [], "Expected numeric value type for metric"),
        ("params.alpha < 3", [], "Expected a quoted string value for parameter"),
        ("'", [], "Invalid clause(s) in filter string"),
        ("", ["metrics.rmse DOWN"], "Invalid ordering key in order_by clause"),
        ("", ["rmse"], "Invalid attribute key 'rmse'"),
    ],
)
def test_a_mistake_in_a_search_is_told_with_mlflows_reason(
    condition: str, order: list[str], reason: str, shared: Project
) -> None:
    """And with an example that works; it is the user's, not the environment's."""
    with tracking.opened(shared, "rents") as runs, pytest.raises(MlrefError) as caught:
        runs.search(condition, order or ["start_time"], trials=False)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"MLflow cannot read this search: {reason}")
    assert second.startswith("  These work: --filter 'metrics.rmse < 60 and ")
    assert caught.value.exit_code == 1


def test_the_example_that_works_does(shared: Project) -> None:
    """As it stands in the message."""
    import shlex

    from mlref.tracking.runs import EXAMPLE

    words = shlex.split(EXAMPLE)
    with tracking.opened(shared, "rents") as runs:
        runs.search(words[words.index("--filter") + 1], [words[words.index("--sort") + 1]])


def test_a_run_is_named_by_its_id_the_start_of_it_or_its_name(shared: Project, parent: str) -> None:
    """Upper case and fewer than six digits are no start of an id."""
    with tracking.opened(shared, "rents") as runs:
        assert {runs.find(word).run_id for word in (parent, parent[:6], parent[:20])} == {parent}
        assert runs.find("mean 00").params["model"] == "mean"
        assert runs.find(runs.find(parent).run_name).run_id == parent
        with pytest.raises(RunNotFound):
            runs.find(parent[:5])


@pytest.mark.parametrize(
    "reference", ["nothing", "", "it's", 'a "quote"', "%", "ffffffffff", "a'b\"c"]
)
def test_a_run_that_is_not_there_is_refused(reference: str, shared: Project) -> None:
    """With the ways to name one; no sign in it is read as a condition."""
    with tracking.opened(shared, "rents") as runs, pytest.raises(RunNotFound) as caught:
        runs.find(reference)
    assert str(caught.value).startswith(f"There is no run {reference!r}. A run is named by its id")


def test_a_name_of_two_runs_is_refused_with_their_ids(published: Project) -> None:
    """So that nobody deletes the wrong one."""
    with tracking.opened(published, "rents") as runs:
        twin = runs.client.create_run(runs.experiment, run_name="mean 00").info.run_id
        first, second = (run.run_id for run in runs.search("run_name = 'mean 00'"))
        with pytest.raises(
            RunNotFound, match="'mean 00' names 2 runs; take one by its id:"
        ) as caught:
            runs.find("mean 00")
    assert twin in (first, second)
    assert f"\n  {first} (mean 00)" in str(caught.value)


def test_a_deleted_run_is_found_only_where_it_is_asked_for(published: Project) -> None:
    """And a live one only where that is."""
    with tracking.opened(published, "rents") as runs:
        run = runs.find("mean 00")
        runs.delete(run)
        with pytest.raises(RunNotFound):
            runs.find("mean 00")
        assert runs.find("mean 00", deleted=True).run_id == run.run_id
        runs.restore(run)
        assert runs.find("mean 00").run_id == run.run_id


def test_a_run_has_trials_and_a_version(shared: Project, parent: str) -> None:
    """By which one sees what hangs on it."""
    with tracking.opened(shared, "rents") as runs:
        run = runs.find(parent)
        assert sorted(names(runs.children(run))) == TRIALS
        assert runs.children(run, deleted=True) == []
        assert runs.children(runs.find("mean 00")) == []
        assert runs.versions("rents") == {parent: "1"}
        assert runs.versions("nothing") == {}


def test_an_attached_file_can_be_read_also_in_a_moved_clone(shared: Project, parent: str) -> None:
    """None where a run has none of that name; nothing is left on the disk."""
    with tracking.opened(shared, "rents") as runs:
        content = runs.text(runs.find(parent), "predictions.csv")
        assert content == shared.predictions.read_text()
        assert runs.text(runs.find(parent), "other.csv") is None
        assert runs.text(runs.find("mean 00"), "predictions.csv") is None


def test_without_a_store_there_are_no_runs_yet(tmp_path: Path) -> None:
    """And none is made by looking."""
    with pytest.raises(MlrefError, match="There are no runs yet: run `make train`."):
        tracking.opened(Project(tmp_path), "rents").__enter__()
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_that_is_not_there_is_refused(registered: Project) -> None:
    """With those that are."""
    with pytest.raises(MlrefError, match="no experiment 'other'; there are: .*rents"):
        tracking.opened(registered, "other").__enter__()


def test_a_file_of_another_store_that_is_not_there_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a relative address too."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    with pytest.raises(MlrefError, match="There are no runs yet"):
        tracking.opened(Project(tmp_path), "rents").__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_away_is_a_fault_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 4, as when registering."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(EnvironmentFault, match=f"MLflow at {address} failed: Connection refused"):
        tracking.opened(Project(tmp_path), "rents").__enter__()


def test_a_store_that_fails_in_a_search_is_no_mistake_of_the_user(
    shared: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is the store's."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def full(*_: Any, **__: Any) -> None:
        raise MlflowException("the disk is full")

    monkeypatch.setattr(MlflowClient, "search_runs", full)
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        with tracking.opened(shared, "rents") as runs:
            runs.search()
