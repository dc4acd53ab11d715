"""Where MLflow's store is, whatever its folder is called, and what happens when it is not there."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mlref.core.errors import EnvironmentFault
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
    assert store.server() == address


@pytest.mark.parametrize(
    ("given", "address"),
    [
        (None, "sqlite:///{root}/mlflow.db"),
        ("sqlite:///mlflow.db", "sqlite:///{root}/mlflow.db"),
        ("sqlite:////elsewhere/runs.db", "sqlite:////elsewhere/runs.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_a_file_is_named_relative_to_the_clone_from_any_folder(
    given: str | None, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if given:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    project = Project(tmp_path / "clone")
    assert store.uri(project) == address.format(root=project.root)


MOVED = """
from mlref.core.storage import Project
from mlref.tracking import runs, store

project = Project.here()
(run_id,) = runs.search(project, condition="metrics.rmse > 0")["run_id"]
with store.open_store(project) as client:
    client.log_text(run_id, "more", "more.txt")
assert runs.text(project, run_id, "more.txt") == "more"
assert "rmse" in runs.text(project, run_id, "metrics.json")
"""


@pytest.mark.load
def test_a_clone_can_be_moved_and_writes_nothing_beside_it(
    registered: Project, tmp_path: Path
) -> None:
    old = copy(registered, tmp_path / "old")
    moved = shutil.move(old.root, tmp_path / "issue #1 größer")
    # A process of its own: MLflow keeps in mind where it found the artefacts of a run.
    done = subprocess.run(
        [sys.executable, "-c", MOVED], cwd=moved, capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == [Path(moved)]


def test_a_store_in_a_folder_of_any_name_makes_no_other_folder(
    opened: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy(opened, tmp_path / "a%41 50%20 ü?")
    monkeypatch.chdir(project.root)
    before = sorted(path.name for path in project.root.iterdir())
    with store.open_store(project) as client:
        run_id = client.create_run(store.experiment(project, client, "rents", "")).info.run_id
        client.log_text(run_id, "text", "text.txt")
    assert list(tmp_path.iterdir()) == [project.root]
    now = sorted(path.name for path in project.root.iterdir())
    assert now == sorted([*before, "mlartifacts"])


def test_artefacts_of_another_server_are_looked_for_in_the_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "dataset.yaml").touch()
    monkeypatch.chdir(tmp_path / "config")
    (tmp_path / "mlartifacts" / "x").mkdir(parents=True)
    found = store.beside_store("mlref:/mlartifacts", "http://127.0.0.1:5000").list_artifacts()
    assert [item.path for item in found] == ["x"]


@pytest.mark.parametrize("change", ["none", "database", "pointer", "deleted", "server"])
def test_a_store_is_unchanged_until_somebody_writes_to_it_or_a_pointer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    project, database, pointer = Project(tmp_path), tmp_path / "mlflow.db", tmp_path / "champion"
    for path in (database, pointer):
        path.touch()
        os.utime(path, (1, 1))
    assert not store.unchanged(project, pointer)
    store.remember(project)
    if change == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    if change in ("database", "pointer"):
        os.utime(database if change == "database" else pointer, (2**33, 2**33))
    if change in ("deleted", "server"):
        database.unlink()
    assert store.unchanged(project, pointer) == (change in ("none", "server"))


def test_a_port_that_is_taken_is_refused_before_anything_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentFault, match=f"Port {port} .*make ui PORT={port + 1}"):
            ui.main(port)
    assert list(tmp_path.iterdir()) == []


def test_importing_the_package_imports_no_mlflow() -> None:
    script = "import sys, mlref.tracking.run_log; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n"
