"""The commands `serve` and `keys`: what they are given, what they refuse, and what they do without."""

import contextlib
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from mlref.cli import main
from mlref.serving import server
from mlref.serving.keys import ApiKeys
from tests.conftest import Told
from tests.fakes import WIDER, write_store

FORBIDDEN = (
    *("mlflow", "sklearn", "pandas", "dvc", "great_expectations", "scipy", "skops", "onnx"),
    "sqlalchemy",  # of the log, which a service may go without
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a champion and no log; this process keeps its signals and its logging."""
    monkeypatch.chdir(tmp_path)
    write_store(tmp_path / "store")
    monkeypatch.setenv("MLREF_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(server.signal, "signal", lambda *_: None)
    monkeypatch.setattr("mlref.serving.logs.configure", lambda: None)
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: pytest.fail("it started"))
    return tmp_path


def test_serve_takes_its_options_and_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr("mlref.serving.server.serve", lambda **given: seen.append(given))
    assert main(["serve"]) == 0
    monkeypatch.setenv("MLREF_MODEL", "challenger")
    monkeypatch.setenv("MLREF_BEHIND_PROXY", "1")
    assert main(["serve", "--host", "::1", "--port", "0", "--no-log"]) == 0
    default = {"insecure": False, "drain": 3.0, "shadow": None, "origins": []}
    plain = {"host": "127.0.0.1", "port": 8000, "reference": "champion"}
    other = {"host": "::1", "port": 0, "reference": "challenger"}
    assert seen == [
        {**default, **plain, "logged": True, "behind_proxy": False},
        {**default, **other, "logged": False, "behind_proxy": True},
    ]


@pytest.mark.parametrize("role", ["predict", "admin"])
def test_a_new_key_fits_its_entry(role: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", role]) == 0
    _, key, _, entry = capsys.readouterr().out.split()
    ApiKeys.read({"MLREF_API_KEYS": entry}).check(f"Bearer {key}".encode(), role)
    assert key not in entry


Patch = pytest.MonkeyPatch


def plant_nothing(folder: Path, patch: Patch) -> None:
    """A sound store."""


def plant_empty_store(folder: Path, patch: Patch) -> None:
    """No model at all."""
    patch.setenv("MLREF_STORE", str(folder / "nothing"))


def plant_wider_shadow(folder: Path, patch: Patch) -> None:
    """A challenger whose rows mean something else."""
    write_store(folder / "store", 5.0, version=2, alias="challenger", contract=WIDER)


def plant_newer_log(folder: Path, patch: Patch) -> None:
    """A log of a version that is not known yet."""
    with contextlib.closing(sqlite3.connect(folder / "predictions.db")) as log:
        log.execute("create table prediction_log_version (version integer primary key)")
        log.execute("insert into prediction_log_version values (99)")
        log.commit()


def plant_key(folder: Path, patch: Patch) -> None:
    """A key in the place of an entry."""
    patch.setenv("MLREF_API_KEYS", "predict:my-own-key")


SHADOW = ("--shadow", "challenger")


@pytest.mark.parametrize(
    ("plant", "options", "code"),
    [
        (plant_empty_store, (), 1),
        (plant_wider_shadow, SHADOW, 1),
        (plant_newer_log, (), 1),
        (plant_key, (), 1),
        (plant_nothing, ("--host", "0.0.0.0"), 1),
        (plant_nothing, ("--host", "192.0.2.1", "--insecure"), 4),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_served_is_refused_before_it_starts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    told: Told,
    plant: Callable[[Path, Patch], None], options: tuple[str, ...], code: int,
) -> None:  # fmt: skip
    plant(folder, monkeypatch)
    assert main(["serve", "--port", "0", *options]) == code
    told(capsys.readouterr().err)


def test_a_busy_port_is_refused(capsys: pytest.CaptureFixture[str], told: Told) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert main(["serve", "--port", str(other.getsockname()[1])]) == 4
    told(capsys.readouterr().err)


def test_a_shadow_without_a_log_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *SHADOW, "--no-log"]) == 2
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "Usage: " in shown and "without the log it does nothing" in shown


def test_the_service_needs_none_of_the_training_stack(folder: Path) -> None:
    program = f"""
import sys
import mlref.serving.server
from mlref.bundle.store import Store
from mlref.core.storage import Project
from fastapi.testclient import TestClient
from mlref.serving.server import Limits, Model, Service, create_app
model = Model(*Store(Project.here().store).open("champion"), Limits())
client = TestClient(create_app(Service(model)))
row = {{"area": 70, "rooms": 3, "heating": "oil", "balcony": None}}
assert client.post("/v1/predict", json={{"instances": [row]}}).status_code == 200
assert client.get("/docs").status_code == client.get("/metrics").status_code == 200
print([name for name in {FORBIDDEN!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


@pytest.mark.parametrize(("behind_proxy", "parser"), [(False, "h11"), (True, "httptools")])
def test_only_behind_a_proxy_the_quick_parser_and_its_headers_are_taken(
    behind_proxy: bool, parser: str
) -> None:
    config = server.config(FastAPI(), behind_proxy)
    assert (config.http, config.ws, config.proxy_headers) == (parser, "none", behind_proxy)
