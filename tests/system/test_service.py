"""The service as a user meets it: a process, a port, HTTP and signals."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import CONTRACT, HALF_WIDTH, write_store

COMMAND = [sys.executable, "-m", "mlref.cli", "serve"]
STARTS_WITHIN = 30.0
"""Seconds; generous, as it only bounds a hang on a busy machine."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a service whose store is in tmp_path."""
    plain = {key: value for key, value in os.environ.items() if key != "MLREF_MODEL"}
    return {**plain, "MLREF_STORE": str(tmp_path / "store")}


@contextlib.contextmanager
def service(
    environment: dict[str, str], *options: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running service and its address, ready to answer; killed at the end if it still runs."""
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "--port", str(port), *options],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(process, address)
        yield process, address
    finally:
        process.kill()
        process.communicate()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_until_ready(process: subprocess.Popen[str], address: str) -> None:
    """Ask until the service answers; fail when it ends or takes too long."""
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the service ended with {process.returncode}: {process.communicate()[1]}")
        try:
            if ask(f"{address}/health/ready")[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail("the service did not become ready")


def ask(url: str, body: object = None) -> tuple[int, Any]:
    """One request over real HTTP: status and decoded answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def refusal(environment: dict[str, str], *options: str) -> tuple[int, str]:
    """Exit code and message of a service that does not start."""
    done = subprocess.run(
        [*COMMAND, *options], env=environment, capture_output=True, text=True, timeout=60
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_a_served_model_predicts_refuses_and_stops(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Over real HTTP: a prediction, a refusal, and a clean end on SIGTERM."""
    digest = write_store(tmp_path / "store")
    with service(environment) as (process, address):
        status, answer = ask(f"{address}/v1/predict", {"instances": [CONTRACT.example]})
        assert status == 200
        assert answer["model"]["digest"] == digest
        [one] = answer["predictions"]
        assert one["upper"] - one["lower"] == pytest.approx(2 * HALF_WIDTH)

        bad = {**CONTRACT.example, "area": "70"}
        status, answer = ask(f"{address}/v1/predict", {"instances": [CONTRACT.example, bad]})
        assert status == 422
        [detail] = answer["error"]["details"]
        assert (detail["instance"], detail["column"]) == (1, "area")

        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode in (0, 143, -signal.SIGTERM)
    assert f"{address}/docs" in " ".join(out.split())
    assert "Traceback" not in err


def test_a_stopping_service_first_says_that_it_is_not_ready(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """After SIGTERM it answers on while a balancer looks away; then it ends by itself."""
    write_store(tmp_path / "store")
    with service(environment, "--drain", "600") as (process, address):
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STARTS_WITHIN
        while ask(f"{address}/health/ready")[0] != 503:
            assert time.monotonic() < deadline
        assert ask(f"{address}/v1/predict", {"instances": [CONTRACT.example]})[0] == 200
        process.send_signal(signal.SIGINT)  # twice: now
        process.communicate(timeout=30)


def test_a_named_version_is_served(environment: dict[str, str], tmp_path: Path) -> None:
    """--model takes a version, an alias or the start of a digest."""
    write_store(tmp_path / "store", version=1)
    digest = write_store(tmp_path / "store", base=5.0, version=2, alias="challenger")
    with service(environment, "--model", "2") as (_, address):
        assert ask(f"{address}/v1/model")[1]["model"]["digest"] == digest


def test_other_machines_are_not_let_in_without_a_key(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Exit code 1, before anything is listened on."""
    write_store(tmp_path / "store")
    code, message = refusal(environment, "--host", "0.0.0.0", "--port", str(free_port()))
    assert (code, "--insecure" in message, "Traceback" in message) == (1, True, False)


def test_a_busy_port_ends_with_code_4(environment: dict[str, str], tmp_path: Path) -> None:
    """A sentence about the port, not a trace."""
    write_store(tmp_path / "store")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, message = refusal(environment, "--port", str(port))
    assert code == 4
    assert f"127.0.0.1:{port} cannot be listened on" in message
    assert "Traceback" not in message


def test_an_empty_store_ends_with_code_1(environment: dict[str, str]) -> None:
    """The message says which command makes a model."""
    code, message = refusal(environment, "--port", str(free_port()))
    assert code == 1
    assert "make train" in message
    assert "Traceback" not in message


def test_an_altered_bundle_ends_with_code_1(environment: dict[str, str], tmp_path: Path) -> None:
    """One flipped byte, and the file is named."""
    digest = write_store(tmp_path / "store")
    model = tmp_path / "store" / digest / "model.onnx"
    content = bytearray(model.read_bytes())
    content[40] ^= 1
    model.write_bytes(content)
    code, message = refusal(environment, "--port", str(free_port()))
    assert code == 1
    assert "model.onnx was altered" in message
    assert "Traceback" not in message
