"""The service as a user meets it: a process, a port, HTTP and signals."""

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlref import __version__
from mlref.core.storage import digest
from mlref.serving import keys
from tests.fakes import CONTRACT, HALF_WIDTH, linear, write_store

COMMAND = [sys.executable, "-m", "mlref.cli", "serve"]
STARTS_WITHIN = 30.0
"""Seconds; generous, as it only bounds a hang on a busy machine."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a service whose store and log are in tmp_path."""
    plain = {key: value for key, value in os.environ.items() if key != "MLREF_MODEL"}
    return {
        **plain,
        "MLREF_STORE": str(tmp_path / "store"),
        "MLREF_LOG_URL": f"sqlite:///{tmp_path / 'log.db'}",
        "MLREF_LOG_SPOOL": str(tmp_path / "spool"),
    }


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


def ask(url: str, body: object = None, key: str = "") -> tuple[int, Any]:
    """One request over real HTTP: status and decoded answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(url, data, headers)
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
    with service(environment, "--drain", "0") as (process, address):
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


def logged(tmp_path: Path) -> int:
    """How many predictions the log holds."""
    with contextlib.closing(sqlite3.connect(tmp_path / "log.db")) as log:
        return int(log.execute("select count(*) from predictions").fetchone()[0])


def test_a_stop_loses_no_prediction_and_labels_find_theirs(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """All rows are in the log after SIGTERM; feedback knows the newest."""
    write_store(tmp_path / "store")
    rows = {"instances": [CONTRACT.example] * 50}
    with service(environment, "--drain", "0") as (process, address):
        found = [ask(f"{address}/v1/predict", rows)[1]["predictions"] for _ in range(20)]
        label = {"id": found[-1][0]["id"], "value": 850}
        counts = {"duplicate": 0, "conflicting": 0, "unknown": 0, "accepted": 1}
        assert ask(f"{address}/v1/feedback", {"labels": [label]}) == (200, counts)
        ask(f"{address}/v1/predict", rows)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert logged(tmp_path) == 21 * 50


def test_a_shadow_scores_the_same_rows(environment: dict[str, str], tmp_path: Path) -> None:
    """Nobody sees it but the log, which holds both under one id."""
    write_store(tmp_path / "store")
    write_store(tmp_path / "store", base=5.0, version=2, alias="challenger")
    with service(environment, "--drain", "0", "--shadow", "challenger") as (process, address):
        status, answer = ask(f"{address}/v1/predict", {"instances": [CONTRACT.example]})
        assert (status, answer["model"]["version"]) == (200, 1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    with contextlib.closing(sqlite3.connect(tmp_path / "log.db")) as log:
        rows = log.execute("select id, role, version from predictions order by role").fetchall()
    name = answer["predictions"][0]["id"]
    assert rows == [(name, "champion", "1"), (name, "shadow", "2")]


def test_a_shadow_of_another_contract_ends_with_code_1(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Its rows would mean something else."""
    write_store(tmp_path / "store")
    store = tmp_path / "store"
    name = write_store(store, base=5.0, version=2, alias="challenger")
    contract = store / name / "contract.yaml"
    contract.write_text(contract.read_text().replace("valid: [5, 1000]", "valid: [5, 2000]"))
    manifest = json.loads((store / name / "MANIFEST.json").read_text())
    manifest["files"]["contract.yaml"] = manifest["contract"] = digest(contract)
    (store / name / "MANIFEST.json").write_text(json.dumps(manifest))
    renamed = digest(store / name / "MANIFEST.json")
    (store / name).rename(store / renamed)
    record = json.loads((store / f"{name}.json").read_text()) | {"digest": renamed}
    (store / f"{renamed}.json").write_text(json.dumps(record))
    (store / "challenger").write_text(f"{renamed}\n")
    code, said = refusal(environment, "--port", "0", "--shadow", "challenger")
    assert code == 1 and "Version 2 is of another contract than version 1" in said


def test_without_a_log_nothing_is_kept(environment: dict[str, str], tmp_path: Path) -> None:
    """Not even a file; and SQLAlchemy is not imported."""
    write_store(tmp_path / "store")
    with service(environment, "--drain", "0", "--no-log") as (_, address):
        assert ask(f"{address}/v1/predict", {"instances": [CONTRACT.example]})[0] == 200
        assert ask(f"{address}/v1/feedback", {"labels": [{"id": "a", "value": 1}]})[0] == 404
    assert not list(tmp_path.glob("log.db*"))


def test_a_log_of_another_version_ends_with_code_1(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Before the service listens; nothing is written to it."""
    write_store(tmp_path / "store")
    with contextlib.closing(sqlite3.connect(tmp_path / "log.db")) as log:
        log.execute("create table prediction_log_version (version integer primary key)")
        log.execute("insert into prediction_log_version values (99)")
        log.commit()
    code, said = refusal(environment, "--port", "0")
    assert code == 1 and "99" in said


def test_a_named_version_is_served(environment: dict[str, str], tmp_path: Path) -> None:
    """--model takes a version, an alias or the start of a digest."""
    write_store(tmp_path / "store", version=1)
    digest = write_store(tmp_path / "store", base=5.0, version=2, alias="challenger")
    with service(environment, "--model", "2") as (_, address):
        assert ask(f"{address}/v1/model")[1]["model"]["digest"] == digest


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


def test_an_open_door_ends_with_code_1(environment: dict[str, str], tmp_path: Path) -> None:
    """On an address that other machines reach, without keys: refused, with the ways out."""
    write_store(tmp_path / "store")
    code, message = refusal(environment, "--host", "0.0.0.0", "--port", str(free_port()))
    assert code == 1
    assert "MLREF_API_KEYS is not set" in message
    assert "mlref keys new predict" in message and "--insecure" in message


def test_malformed_keys_end_with_code_1(environment: dict[str, str], tmp_path: Path) -> None:
    """Without the text of the entry, which may be a key."""
    write_store(tmp_path / "store")
    code, message = refusal(environment | {"MLREF_API_KEYS": "predict:my-own-key"})
    assert (code, "my-own-key" in message) == (1, False)
    assert "MLREF_API_KEYS has 1 mistake: entry 1: not ROLE:HASH" in message


def test_a_door_is_opened_with_a_key_or_on_purpose(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """With keys a request needs one, and health does not; `--insecure` asks nobody."""
    write_store(tmp_path / "store")
    request = {"instances": [CONTRACT.example]}
    key, entry = keys.new("predict")
    with service(environment | {"MLREF_API_KEYS": entry}, "--host", "0.0.0.0") as (_, address):
        assert ask(f"{address}/v1/predict", request)[0] == 401
        assert ask(f"{address}/v1/predict", request, key)[0] == 200
        assert ask(f"{address}/metrics", key=key)[0] == 403
    with service(environment, "--host", "0.0.0.0", "--insecure") as (_, address):
        assert ask(f"{address}/v1/predict", request)[0] == 200


def test_a_promoted_model_is_served_without_a_failed_request(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """A loop of requests sees the version change; a bad candidate after it changes nothing."""
    digests = {1: write_store(tmp_path / "store")}
    request = {"instances": [CONTRACT.example]}
    with service(environment) as (_, address):
        for version in (2, 3):
            digests[version] = write_store(tmp_path / "store", base=float(version), version=version)
            seen, deadline = 0, time.monotonic() + STARTS_WITHIN
            while seen != version and time.monotonic() < deadline:
                status, answer = ask(f"{address}/v1/predict", request)
                assert status == 200
                seen = answer["model"]["version"]
                assert answer["model"]["digest"] == digests[seen]
            assert seen == version
        (tmp_path / "store" / "champion").write_text("0" * 64)
        threading.Event().wait(1.5)
        assert ask(f"{address}/v1/predict", request)[1]["model"]["version"] == 3


def test_a_stop_loses_no_request(environment: dict[str, str], tmp_path: Path) -> None:
    """SIGTERM: readiness goes first, as a balancer needs it; requests go on, and then the process ends."""
    write_store(tmp_path / "store")
    request = {"instances": [CONTRACT.example]}
    with service(environment, "--drain", "1.5") as (process, address):
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STARTS_WITHIN
        while ask(f"{address}/health/ready")[0] == 200 and time.monotonic() < deadline:
            pass
        assert ask(f"{address}/health/ready") == (503, {"status": "draining"})
        for _ in range(20):
            assert ask(f"{address}/v1/predict", request)[0] == 200
        assert process.wait(timeout=30) == 0


# 2026-11: mlflow 3.17 warns of a type hint of its own while it is imported
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")
def test_a_client_of_mlflow_is_answered(environment: dict[str, str], tmp_path: Path) -> None:
    """MLflow's own scoring client: its wait for the server, its DataFrame, its version."""
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient  # seconds of imports

    write_store(tmp_path / "store")
    with service(environment) as (_, address):
        host, port = address.removeprefix("http://").split(":")
        client = ScoringServerClient(host, int(port))
        client.wait_server_ready(timeout=10)
        assert client.get_version() == __version__
        rows = pd.DataFrame([CONTRACT.example, CONTRACT.example | {"area": 100.0}])
        values = client.invoke(rows).get_predictions().to_numpy().ravel()
        refused = CONTRACT.example | {"rooms": 99}
        with pytest.raises(Exception, match="rows_refused"):
            client.invoke(pd.DataFrame([refused]))
    assert values == pytest.approx(linear([[70.5, 3, 1, 4], [100, 3, 1, 4]]))


def test_a_client_of_triton_is_answered(environment: dict[str, str], tmp_path: Path) -> None:
    """NVIDIA's own client, over the Open Inference Protocol."""
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException

    write_store(tmp_path / "store")
    cells = {
        "area": (np.array([70.5, 100.0]), "FP64"),
        "rooms": (np.array([[3], [2]], dtype=np.int64), "INT64"),
        "heating": (np.array(["oil", "gas"], dtype=object), "BYTES"),
        "balcony": (np.array([4.0, 0.0], dtype=np.float32), "FP32"),
    }
    inputs = []
    for name, (array, datatype) in cells.items():
        tensor = triton.InferInput(name, list(array.shape), datatype)
        inputs.append(tensor.set_data_from_numpy(array, binary_data=False))
    with service(environment) as (_, address):
        client = triton.InferenceServerClient(address.removeprefix("http://"))
        try:
            assert client.is_server_live() and client.is_server_ready()
            assert client.is_model_ready("rents") and client.is_model_ready("rents", "1")
            assert not client.is_model_ready("other")
            assert client.get_server_metadata()["name"] == "mlref"
            assert [one["name"] for one in client.get_model_metadata("rents")["inputs"]] == list(
                cells
            )
            wanted = [
                triton.InferRequestedOutput(name, binary_data=False) for name in ("value", "upper")
            ]
            result = client.infer("rents", inputs, request_id="r-1", outputs=wanted)
            value, upper = result.as_numpy("value"), result.as_numpy("upper")
            assert result.get_response()["id"] == "r-1"
            everything = client.infer("rents", inputs, model_version="1")
            assert everything.as_numpy("lower").shape == (2,)
            inputs[0].set_data_from_numpy(np.array([70.5, 1e6]), binary_data=False)
            with pytest.raises(InferenceServerException, match="'area': got a number outside"):
                client.infer("rents", inputs)
            inputs[0].set_data_from_numpy(np.array([70.5, 100.0]))
            with pytest.raises(InferenceServerException, match="binary_data=False"):
                client.infer("rents", inputs)
        finally:
            client.close()
    assert value == pytest.approx(linear([[70.5, 3, 1, 4], [100, 2, 0, 0]]))
    assert (upper - value) == pytest.approx([HALF_WIDTH] * 2)


class Load:
    """Clients that ask without a pause, each over its own connection, until they are told to stop."""

    def __init__(self, address: str, clients: int = 4) -> None:
        self.address = address.removeprefix("http://")
        self.answered: Counter[object] = Counter()
        self.failed: list[str] = []
        self.stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self) -> None:
        body = json.dumps({"instances": [CONTRACT.example]})
        connection = http.client.HTTPConnection(self.address, timeout=10)
        while not self.stop.is_set():
            try:
                connection.request("POST", "/v1/predict", body)  # connects anew after a `close`
                answer = json.load(response := connection.getresponse())
                if response.status == 200:
                    self.answered[answer["model"]["version"]] += 1
                else:
                    self.failed.append(str(answer))
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
        connection.close()

    def wait_for(self, happened: Callable[[], bool], within: float = 60.0) -> None:
        """Wait until something is so, while requests go on."""
        deadline = time.monotonic() + within
        while not happened():
            assert time.monotonic() < deadline, "it did not happen in time"
            self.stop.wait(0.02)


@pytest.mark.load
def test_fifty_swaps_under_load_fail_no_request(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Every version answers, each answer names one, and none is an error."""
    write_store(tmp_path / "store")
    with service(environment) as (_, address), Load(address) as load:
        for version in range(2, 52):
            write_store(tmp_path / "store", base=-float(version), version=version)
            load.wait_for(lambda: load.answered[version] > 0)  # noqa: B023 - asked at once
    assert load.failed == []
    assert len(load.answered) == 51


@pytest.mark.load
def test_a_stop_under_load_fails_no_request(environment: dict[str, str], tmp_path: Path) -> None:
    """Behind a readiness check, as balancers have one: SIGTERM after ten thousand requests, 0 failed."""
    write_store(tmp_path / "store")
    with service(environment) as (process, address), Load(address) as load:
        load.wait_for(lambda: load.answered[1] >= 10_000, within=120)
        process.send_signal(signal.SIGTERM)
        load.wait_for(lambda: ask(f"{address}/health/ready")[0] == 503)
        load.stop.set()
        assert process.wait(30) == 0
    assert load.failed == []
