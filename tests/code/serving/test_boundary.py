"""Request ids, and failures of our own."""

import asyncio
import logging
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect

from mlref.bundle.predictor import Predictor
from mlref.errors import BundleError
from mlref.serving.app import create_app
from mlref.serving.boundary import SECURITY, Boundary, answer
from mlref.serving.keys import Keys
from mlref.serving.limits import Limits
from mlref.serving.metrics import Metrics
from mlref.serving.model import Served
from tests.fakes import CONTRACT

REQUEST = {"instances": [CONTRACT.example]}


class Broken:
    """Stands for a predictor that fails on every row."""

    contract = CONTRACT
    digest = "0" * 64
    profile: dict[str, Any] = {"columns": {}}

    def __init__(self, error: Exception) -> None:
        self.error = error

    def predict(self, rows: Any) -> None:
        """Fail."""
        raise self.error


@pytest.mark.parametrize(
    "error", [BundleError("/srv/secret broke"), ValueError("/srv/secret broke"), RecursionError()]
)
def test_a_failure_of_ours_says_nothing_about_itself(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """500 with a neutral sentence; the trace is in the log, under the request id."""
    client = TestClient(create_app(Broken(error), {"version": 1}))  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR, "mlref.serving"):
        response = client.post("/v1/predict", json=REQUEST, headers={"x-request-id": "abc-1"})
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_server_error"
    assert response.headers["x-request-id"] == response.json()["error"]["request_id"] == "abc-1"
    assert "secret" not in response.text and "Traceback" not in response.text
    [record] = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert "abc-1" in record.getMessage()
    assert record.exc_info is not None and record.exc_info[1] is error


@pytest.mark.parametrize("sent", ["abc", "7f3a.B-2_x", "a" * 128])
def test_a_well_formed_request_id_is_kept(client: TestClient, sent: str) -> None:
    """One id runs through the logs of all services."""
    response = client.get("/health/live", headers={"x-request-id": sent})
    assert response.headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", "a b", "<script>", "a" * 129, "é", "a;b"])
def test_a_malformed_request_id_is_replaced(client: TestClient, sent: str) -> None:
    """What goes into logs and answers is never free text."""
    response = client.get("/health/live", headers={"x-request-id": sent.encode("latin-1")})
    assert len(response.headers["x-request-id"]) == 32


def test_each_request_without_an_id_gets_its_own(client: TestClient) -> None:
    """Ids differ."""
    assert len({client.get("/health/live").headers["x-request-id"] for _ in range(3)}) == 3


def test_an_answer_with_nan_is_an_error_not_bad_json() -> None:
    """JSON has no NaN, whatever Python writes."""
    with pytest.raises(ValueError, match="JSON compliant"):
        answer({"value": float("nan")})


SCOPE = {"type": "http", "method": "POST", "path": "/x", "headers": []}


def run(app: Any, predictor: Predictor) -> list[Any]:
    """Send one bare request through the boundary and collect what it sends."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"{}"}

    boundary = Boundary(app, {}, Limits(), Keys(), Metrics(Served(predictor, {"version": 1})))
    asyncio.run(boundary(SCOPE, receive, send))
    return sent


def test_a_client_that_went_away_is_no_failure(
    predictor: Predictor, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is answered, and nothing logged as an error."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ClientDisconnect

    assert run(app, predictor) == []
    assert caplog.records == []


def test_an_answer_that_has_begun_is_not_answered_again(predictor: Predictor) -> None:
    """The server then cuts the connection, which the client can see."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        run(app, predictor)


def test_other_protocols_pass(predictor: Predictor) -> None:
    """The server's start and stop go through untouched."""
    with TestClient(create_app(predictor, {"version": 1})) as client:
        assert client.get("/health/ready").status_code == 200


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/model", "/nothing"])
def test_an_answer_is_not_kept_framed_or_guessed(client: TestClient, path: str) -> None:
    """Each answer, also a refusal, has the security headers, and no header names the server."""
    response = client.get(path)
    for name, value in SECURITY:
        assert response.headers[name.decode()] == value.decode()
    assert "server" not in response.headers


def test_the_docs_may_run_their_own_script_and_no_other(client: TestClient) -> None:
    """Swagger UI needs what other answers forbid; nothing from another host."""
    policy = client.get("/docs").headers["content-security-policy"]
    assert "script-src 'self' 'unsafe-inline'" in policy
    assert "http" not in policy


def test_a_busy_service_says_when_to_come_again(predictor: Predictor) -> None:
    """503 with Retry-After; the health routes still answer, or the replica would be killed."""
    busy = create_app(predictor, {"version": 1}, Limits(waiting=2))
    busy.waiting = lambda: 3
    client = TestClient(busy)
    response = client.post("/v1/predict", json=REQUEST)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "busy")
    assert response.headers["retry-after"] == "1"
    assert client.get("/health/live").status_code == 200
    assert 'requests_shed_total{reason="busy"} 1.0' in busy.metrics.text().decode()
    busy.waiting = lambda: 2
    assert client.post("/v1/predict", json=REQUEST).status_code == 200


def test_a_stopping_service_answers_but_is_not_ready(predictor: Predictor) -> None:
    """A balancer learns it from the readiness, a client from the connection that is not kept."""
    stopping = create_app(predictor, {"version": 1})
    stopping.draining = True
    client = TestClient(stopping)
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200
    response = client.post("/v1/predict", json=REQUEST)
    assert (response.status_code, response.headers["connection"]) == (200, "close")


def test_a_refusal_is_logged_without_what_was_sent(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Under the request id, with its code."""
    bad = {"instances": [{**CONTRACT.example, "area": -424242}]}
    with caplog.at_level(logging.INFO, "mlref.serving"):
        client.post("/v1/predict", json=bad, headers={"x-request-id": "r-1"})
    [record] = [one for one in caplog.records if one.name == "mlref.serving"]
    assert (record.request_id, record.code) == ("r-1", "rows_refused")  # type: ignore[attr-defined]
    assert "424242" not in str(record.__dict__)
