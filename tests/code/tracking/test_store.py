"""Where MLflow's store is, whatever its folder is called, and what happens when it is not there."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mlref.bundle.store import Store
from mlref.core.errors import EnvironmentFault, MlrefError
from mlref.core.storage import Project
from mlref.tracking import run_log, store, ui
from tests.projects import copy


def test_a_server_that_is_away_is_named_with_the_reason(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(EnvironmentFault, match=f"MLflow at {address} failed: Connection refused"):
        run_log.sync_aliases(project, "rents", {})
    assert store.server(project) == address
    assert store.unchanged(project, run="any"), "a server is taken at its word"


@pytest.mark.parametrize(
    ("given", "address", "server"),
    [
        (None, "{root}/mlflow.db", False),
        ("sqlite:///mlflow.db", "{root}/mlflow.db", False),
        ("sqlite:///../runs.db?timeout=60", "{root}/../runs.db?timeout=60", True),
        ("sqlite:////elsewhere/runs.db", "/elsewhere/runs.db", True),
    ],
)
def test_a_file_is_named_relative_to_the_clone_from_any_folder(
    given: str | None, address: str, server: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path)
    (project.root / "config").mkdir()
    monkeypatch.chdir(project.root / "config")
    if given:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    expected = f"sqlite:///{address.format(root=project.root)}"
    assert store.uri(project) == expected
    assert store.server(project) == (expected if server else None)


MOVED = """
import sys
import mlflow
from mlref.bundle.store import Store
from mlref.core.storage import Project
from mlref.tracking import runs, store

project = Project.here()
(record,) = Store(project.store).records()
assert runs.is_finished(project, record["run_id"])
with store.open_store(project) as client:
    client.log_text(record["run_id"], "more", "more.txt")
assert runs.text(project, record["run_id"], "more.txt") == "more"
assert "rows" in runs.text(project, record["run_id"], "metrics.json")
if "%" not in str(project.root):  # MLflow 3.17 itself takes such a path for an encoded one
    assert mlflow.sklearn.load_model("models:/rents@champion").predict([[70, 3, 1, 4]]) > 0
"""


@pytest.mark.parametrize("name", ["50%20 off?", "issue #1 größer"])
def test_a_clone_in_a_folder_of_any_name_can_be_moved_and_writes_nothing_beside_it(
    registered: Project, tmp_path: Path, name: str
) -> None:
    old = copy(registered, tmp_path / "old")
    moved = shutil.move(old.root, tmp_path / name)
    # A process of its own: MLflow keeps in mind where it found the artefacts of a run.
    done = subprocess.run(
        [sys.executable, "-c", MOVED], cwd=moved, capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == [Path(moved)]


def test_a_new_store_makes_no_folder_beside_the_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path / "a%41 ü?")
    project.root.mkdir()
    monkeypatch.chdir(project.root)
    with store.open_store(project) as client:
        client.search_experiments()
    assert [path.name for path in project.root.iterdir()] == ["mlflow.db"]
    assert list(tmp_path.iterdir()) == [project.root]


def test_artefacts_of_another_server_are_looked_for_in_the_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "dataset.yaml").touch()
    monkeypatch.chdir(tmp_path / "config")
    (tmp_path / "mlartifacts" / "x").mkdir(parents=True)
    found = store.beside_store("mlref:/mlartifacts", "http://127.0.0.1:5000").list_artifacts()
    assert [item.path for item in found] == ["x"]


def test_an_experiment_whose_files_are_outside_of_the_clone_is_refused(project: Project) -> None:
    with store.open_store(project) as client:
        client.create_experiment("rents", "file:///elsewhere/mlartifacts")
        with pytest.raises(MlrefError, match="file:///elsewhere/mlartifacts.* Rename mlflow.db"):
            store.experiment(project, client, "rents", "Monthly rents")


@pytest.mark.parametrize("change", ["written", "deleted", "another"])
def test_a_store_is_unchanged_until_somebody_writes_to_it(published: Project, change: str) -> None:
    store.remember(published, run="a")
    assert store.unchanged(published, run="a")
    if change == "written":
        run_log.sync_aliases(published, "rents", {"other": Store(published.store).resolve("1")})
    if change == "deleted":
        (published.root / "mlflow.db").unlink()
    assert not store.unchanged(published, run="b" if change == "another" else "a")


def test_a_port_that_is_taken_is_refused_before_anything_is_opened(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.root)
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentFault, match=f"Port {port} .*make ui PORT={port + 1}"):
            ui.main(port)
    assert not (project.root / "mlflow.db").exists()


def test_importing_the_package_imports_no_mlflow() -> None:
    script = (
        "import sys, mlref.tracking.run_log, mlref.tracking.runs; print('mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n"
