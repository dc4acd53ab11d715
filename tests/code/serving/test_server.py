"""The process around the application."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from mlref.core.errors import EnvironmentFault
from mlref.serving import server
from mlref.serving.errors import OpenDoor
from tests.fakes import write_store

FORBIDDEN = (
    *("mlflow", "sklearn", "pandas", "dvc", "great_expectations", "scipy", "skops", "onnx"),
    "sqlalchemy",  # of the log, which a service may go without
)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A store and a log in tmp_path, and a uvicorn that only notes what it was given."""
    seen: dict[str, Any] = {}

    def note(self: uvicorn.Server, sockets: list[socket.socket]) -> None:
        seen.update(app=self.config.app, address=sockets[0].getsockname())
        raise KeyboardInterrupt

    monkeypatch.setenv("MLREF_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MLREF_LOG_URL", f"sqlite:///{tmp_path / 'log.db'}")
    monkeypatch.setenv("MLREF_LOG_SPOOL", str(tmp_path / "spool"))
    monkeypatch.delenv("MLREF_MODEL", raising=False)
    monkeypatch.setattr(server.signal, "signal", lambda *_: None)
    monkeypatch.setattr(uvicorn.Server, "run", note)
    return seen


def test_the_champion_is_served_on_loopback(
    run: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = write_store(tmp_path / "store", version=3)
    server.serve(host="127.0.0.1", port=0, reference="champion")
    host, port = run["address"]
    line = capsys.readouterr().out
    assert host == "127.0.0.1"
    assert line == (
        f"rents version 3 ({digest[:12]}) answers at http://127.0.0.1:{port}"
        f" · docs: http://127.0.0.1:{port}/docs\n"
    )


def test_an_open_door_is_refused_before_anything_is_opened(
    run: dict[str, Any], tmp_path: Path
) -> None:
    write_store(tmp_path / "store")
    with pytest.raises(OpenDoor, match=r"Other machines reach 0\.0\.0\.0"):
        server.serve(host="0.0.0.0", port=0, reference="champion")
    assert not run
    server.serve(host="0.0.0.0", port=0, reference="champion", insecure=True)
    assert run["address"][0] == "0.0.0.0"


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(EnvironmentFault, match=r"192\.0\.2\.1:8000 cannot be listened on") as fault:
        server.listen("192.0.2.1", 8000)
    assert fault.value.exit_code == 4


def test_the_service_needs_none_of_the_training_stack(tmp_path: Path) -> None:
    write_store(tmp_path)
    program = f"""
import sys
from pathlib import Path
import mlref.serving.server
from mlref.bundle.store import Store
from fastapi import FastAPI
from fastapi.testclient import TestClient
from mlref.serving.server import Limits, Model, Service, create_app
model = Model(*Store(Path({str(tmp_path)!r})).open("champion"), Limits())
app = create_app(Service(model))
client = TestClient(app)
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
