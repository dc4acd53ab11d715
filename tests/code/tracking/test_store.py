"""Where MLflow's store is, and what happens when it is not there."""

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from mlref import tracking
from mlref.bundle.store import Store
from mlref.core.contract import load as load_contract
from mlref.core.errors import EnvironmentFault
from mlref.core.storage import Project


def test_a_server_that_is_away_is_named_with_the_reason(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, after few tries."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(EnvironmentFault, match=f"MLflow at {address} failed: Connection refused"):
        tracking.mirror(project, load_contract(project.contract), {})
    tracking.warm_up(project, load_contract(project.contract))  # leaves the sentence to the others


def test_the_tracking_store_is_a_file_in_the_clone_unless_a_server_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's own variable decides."""
    project = Project(tmp_path)
    assert tracking.uri(project) == f"sqlite:///{tmp_path.resolve()}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    assert tracking.uri(project) == "https://mlflow.example.org"
    assert tracking.holds(project, "any run")


@pytest.mark.parametrize("folder", [".", "config"])
@pytest.mark.parametrize("address", ["sqlite:///mlflow.db", "sqlite:///./mlflow.db"])
def test_the_file_in_the_clone_may_be_named_by_its_relative_path(
    address: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the root of the clone, wherever in it a command is called; it is no other server."""
    project = Project(tmp_path / "a clone")
    (project.root / folder).mkdir(parents=True, exist_ok=True)
    embedded = tracking.uri(project)
    monkeypatch.chdir(project.root / folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert tracking.uri(project) == embedded
    assert tracking.server(project) is None


def test_a_link_to_the_clone_leads_to_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The absolute path of the file may go through it."""
    project = Project(tmp_path / "clone")
    project.root.mkdir()
    (tmp_path / "link").symlink_to(project.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/link/mlflow.db")
    assert tracking.server(project) is None


def test_another_file_is_another_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path to it is made absolute; what follows a question mark is kept."""
    project = Project(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///../runs.db?timeout=60")
    expected = f"sqlite:///{tmp_path.resolve().parent}/runs.db?timeout=60"
    assert tracking.uri(project) == tracking.server(project) == expected


@pytest.mark.parametrize("content", [None, b"", b"this is not a database"])
def test_a_store_without_the_run_does_not_hold_it(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty or broken: no error, and no file is made by looking."""
    if content is not None:
        (tmp_path / "mlflow.db").write_bytes(content)
    before = sorted(tmp_path.iterdir())
    assert not tracking.holds(Project(tmp_path), "run")
    assert not tracking.mirrors(Project(tmp_path), {"champion": "digest"})
    assert sorted(tmp_path.iterdir()) == before


def test_a_deleted_run_is_not_held(published: Project) -> None:
    """MLflow keeps it as finished, for `restore`."""
    (record,) = Store(published.store).records()
    assert tracking.holds(published, record["run_id"])
    client, _ = tracking.open_store(published, load_contract(published.contract))
    client.delete_run(record["run_id"])
    assert not tracking.holds(published, record["run_id"])


def unset(client: Any) -> None:
    """Take the alias away."""
    client.delete_registered_model_alias("rents", "champion")


def move(client: Any) -> None:
    """Point the alias to another version."""
    other = client.create_model_version("rents", "bundle-store:/other", tags={"digest": "other"})
    client.set_registered_model_alias("rents", "champion", other.version)


@pytest.mark.parametrize("by_hand", [unset, move])
def test_an_alias_that_was_changed_by_hand_is_seen(by_hand: Any, published: Project) -> None:
    """Compared by digest with the pointers of the bundle store."""
    (record,) = Store(published.store).records()
    aliases = dict.fromkeys(("challenger", "champion"), record["digest"])
    assert tracking.mirrors(published, aliases)
    by_hand(tracking.open_store(published, load_contract(published.contract))[0])
    assert not tracking.mirrors(published, aliases)


@pytest.mark.parametrize("name", ["with space", "50%20 off", "issue #1", "größer"])
def test_a_folder_with_any_name_can_hold_the_store(tmp_path: Path, name: str) -> None:
    """Also one with signs that mean something in an address."""
    import sqlalchemy

    project = Project(tmp_path / name)
    project.root.mkdir()
    engine = sqlalchemy.create_engine(tracking.uri(project), poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("create table runs (run_uuid, status, lifecycle_stage)"))
        connection.execute(sqlalchemy.text("insert into runs values ('r1', 'FINISHED', 'active')"))
        connection.commit()
    assert [path.name for path in project.root.iterdir()] == ["mlflow.db"]
    assert tracking.holds(project, "r1")


def test_importing_the_module_imports_no_mlflow() -> None:
    """It takes a second and a half, which most commands do not need."""
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", "import sys, mlref.tracking; print('mlflow' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "False\n"
