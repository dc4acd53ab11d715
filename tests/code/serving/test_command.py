"""The command that starts the service."""

from pathlib import Path
from typing import Any

import pytest

from mlref.cli import main
from mlref.serving.keys import ApiKeys


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLREF_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("MLREF_MODEL", raising=False)


@pytest.mark.parametrize("port", ["http", "65536"])
def test_a_port_that_is_none_is_wrong_usage(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", port]) == 2
    assert "Usage: " in capsys.readouterr().err


def test_it_takes_host_port_and_model(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr("mlref.serving.server.serve", lambda **given: seen.append(given))
    assert main(["serve"]) == 0
    monkeypatch.setenv("MLREF_MODEL", "challenger")
    assert main(["serve", "--host", "::1", "--port", "0"]) == 0
    default = {"insecure": False, "drain": 3.0, "logged": True, "shadow": None}
    default["behind_proxy"] = False
    monkeypatch.setenv("MLREF_BEHIND_PROXY", "1")
    assert main(["serve"]) == 0
    assert seen.pop()["behind_proxy"]
    assert seen == [
        {"host": "127.0.0.1", "port": 8000, "reference": "champion", **default},
        {"host": "::1", "port": 0, "reference": "challenger", **default},
    ]


@pytest.mark.parametrize("role", ["predict", "admin"])
def test_a_new_key_fits_its_entry(role: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", role]) == 0
    _, key, _, entry = capsys.readouterr().out.split()
    ApiKeys.read({"MLREF_API_KEYS": entry}).check(f"Bearer {key}".encode(), role)
    assert key not in entry


def test_a_role_that_there_is_not_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", "root"]) == 2
    assert "'predict', 'admin'" in capsys.readouterr().err
