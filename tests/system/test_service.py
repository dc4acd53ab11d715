"""The service as a user meets it: a process, a port, HTTP and signals."""

import contextlib
import http.client
import json
import os
import re
import resource
import signal
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
from mlref.serving import keys
from tests.code.prediction_log.records import until
from tests.fakes import CONTRACT, HALF_WIDTH, linear, write_store

COMMAND = [sys.executable, "-m", "mlref.cli", "serve", "--port", "0"]
REQUEST = {"instances": [CONTRACT.example]}
PATIENCE = 30.0
"""Seconds; generous, as it only bounds a hang on a busy machine."""

Process = subprocess.Popen[str]


def variables(folder: Path) -> dict[str, str]:
    """The environment of a service whose store, with a champion, and log are in a folder."""
    write_store(folder / "store")
    return os.environ | {
        "MLREF_STORE": str(folder / "store"),
        "MLREF_LOG_URL": f"sqlite:///{folder / 'log.db'}",
        "MLREF_LOG_SPOOL": str(folder / "spool"),
    }


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a service of this test's own."""
    return variables(tmp_path)


@contextlib.contextmanager
def service(
    environment: dict[str, str], *options: str, largest: int = resource.RLIM_INFINITY
) -> Iterator[tuple[Process, str]]:
    """A running service and its address, on a disk that takes files up to a size; killed at the end."""
    process = subprocess.Popen(
        [*COMMAND, *options], env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)),
    )  # fmt: skip
    try:
        assert process.stdout
        port = re.search(r"answers at http://\S+:(\d+) ", process.stdout.readline())
        if not port:
            pytest.fail(f"it did not start: {process.communicate()[1]}")
        yield process, f"http://127.0.0.1:{port[1]}"
    finally:
        process.kill()
        process.communicate()


def stop(process: Process) -> tuple[int, str]:
    """Tell a service to stop; its exit code and what it said of errors."""
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=PATIENCE)[1]
    return process.returncode, said


def ask(url: str, body: object = None, key: str = "") -> tuple[int, Any]:
    """One request over real HTTP: status and decoded answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def select(file: Path, query: str) -> list[Any]:
    """Rows of a log's file."""
    with contextlib.closing(sqlite3.connect(file)) as log:
        return log.execute(query).fetchall()


def logged(file: Path) -> int:
    """How many predictions a log's file holds."""
    return int(select(file, "select count(*) from predictions")[0][0])


def test_with_a_key_rows_are_answered_and_a_stop_loses_none_of_model_and_shadow(
    environment: dict[str, str], tmp_path: Path
) -> None:
    write_store(tmp_path / "store", base=5.0, version=2, alias="challenger")
    key, entry = keys.new("predict")
    variables = environment | {"MLREF_API_KEYS": entry}
    options = ("--host", "0.0.0.0", "--drain", "0", "--shadow", "challenger")
    body = {"instances": [CONTRACT.example] * 50}
    with service(variables, *options) as (process, address):
        assert ask(f"{address}/v1/predict", body)[0] == 401
        for _ in range(20):
            status, answer = ask(f"{address}/v1/predict", body, key)
            assert (status, answer["model"]["version"]) == (200, 1)
        first = answer["predictions"][0]
        label = {"id": first["id"], "value": 850}
        counts = {"duplicate": 0, "conflicting": 0, "unknown": 0, "accepted": 1}
        assert ask(f"{address}/v1/feedback", {"labels": [label]}, key) == (200, counts)
        ask(f"{address}/v1/predict", body, key)
        code, said = stop(process)
    assert code in (0, 143, -signal.SIGTERM) and "Traceback" not in said
    assert first["upper"] - first["lower"] == pytest.approx(2 * HALF_WIDTH)
    assert logged(tmp_path / "log.db") == 2 * 21 * 50
    about = f"select role, version from predictions where id = '{first['id']}' order by role"
    assert select(tmp_path / "log.db", about) == [("champion", "1"), ("shadow", "2")]


def test_a_promotion_and_a_stop_fail_no_request(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """A bad candidate changes nothing. At SIGTERM readiness goes first; a second one stops at once."""
    with service(environment, "--drain", "60") as (process, address):
        for version in (2, 3):
            digest = write_store(tmp_path / "store", base=float(version), version=version)
            seen, deadline = "", time.monotonic() + PATIENCE
            while seen != digest and time.monotonic() < deadline:
                status, answer = ask(f"{address}/v1/predict", REQUEST)
                assert status == 200
                seen = answer["model"]["digest"]
            assert (seen, answer["model"]["version"]) == (digest, version)
        (tmp_path / "store" / "champion").write_text("0" * 64)
        assert process.stderr
        assert any("model refused" in line for line in process.stderr)
        assert ask(f"{address}/v1/predict", REQUEST)[1]["model"]["version"] == 3
        process.send_signal(signal.SIGTERM)
        until(lambda: ask(f"{address}/health/ready")[0] != 200)
        assert ask(f"{address}/health/ready") == (503, {"status": "draining"})
        assert {ask(f"{address}/v1/predict", REQUEST)[0] for _ in range(20)} == {200}
        assert stop(process)[0] == 0


@pytest.mark.load
def test_a_disk_that_is_full_until_the_stop_ends_with_code_4_and_the_count(
    environment: dict[str, str], tmp_path: Path
) -> None:
    body = {"instances": [CONTRACT.example] * 500}
    with service(environment, "--drain", "0", largest=500_000) as (process, address):
        assert {ask(f"{address}/v1/predict", body)[0] for _ in range(10)} == {200}
        code, said = stop(process)
    lost = 5000 - logged(tmp_path / "log.db") - logged(tmp_path / "spool" / "waiting.db")
    assert code == 4 and lost > 0
    assert f"{lost:,} rows of the prediction log are lost" in said


@pytest.mark.xdist_group("service")
# 2026-11: mlflow 3.17 warns of a type hint of its own while it is imported
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")
def test_a_client_of_mlflow_is_answered(open_service: str) -> None:
    """MLflow's own scoring client: its wait for the server, its DataFrame, its version."""
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient  # seconds of imports

    host, port = open_service.removeprefix("http://").split(":")
    client = ScoringServerClient(host, int(port))
    client.wait_server_ready(timeout=10)
    assert client.get_version() == __version__
    rows = pd.DataFrame([CONTRACT.example, CONTRACT.example | {"area": 100.0}])
    values = client.invoke(rows).get_predictions().to_numpy().ravel()
    assert values == pytest.approx(linear([[70.5, 3, 1, 4], [100, 3, 1, 4]]))
    with pytest.raises(Exception, match="rows_refused"):
        client.invoke(pd.DataFrame([CONTRACT.example | {"rooms": 99}]))


@pytest.mark.xdist_group("service")
def test_a_client_of_triton_is_answered(open_service: str) -> None:
    """NVIDIA's own client, over the Open Inference Protocol."""
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException

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
    with contextlib.closing(
        triton.InferenceServerClient(open_service.removeprefix("http://"))
    ) as client:
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready("rents") and client.is_model_ready("rents", "1")
        assert not client.is_model_ready("other")
        assert client.get_server_metadata()["name"] == "mlref"
        assert [one["name"] for one in client.get_model_metadata("rents")["inputs"]] == [*cells]
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
def test_fifty_swaps_and_a_stop_under_load_fail_no_request(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Behind a readiness check, as balancers have one; every version answers, and none is an error."""
    with service(environment) as (process, address), Load(address) as load:
        for version in range(2, 52):
            write_store(tmp_path / "store", base=-float(version), version=version)
            load.wait_for(lambda: load.answered[version] > 0)  # noqa: B023 - asked at once
        process.send_signal(signal.SIGTERM)
        load.wait_for(lambda: ask(f"{address}/health/ready")[0] == 503)
        load.stop.set()
        assert process.wait(30) == 0
    assert load.failed == [] and len(load.answered) == 51
