"""What is decided before a body is read, and what every answer has."""

import asyncio
import itertools
import json
from typing import Any

import pytest
from fastapi import FastAPI, Response
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from mlref.bundle.predictor import Predictor
from mlref.core.errors import BundleError
from mlref.serving.app import create_app
from mlref.serving.keys import ApiKeys
from mlref.serving.middleware import Middleware
from mlref.serving.model import Model, Service
from mlref.serving.request import Limits
from tests.code.serving.conftest import Memory
from tests.fakes import CONTRACT, HALF_WIDTH

REQUEST = {"instances": [CONTRACT.example]}
PREDICTING = ["/v1/predict", "/invocations", "/v2/models/rents/infer"]
READY = ["/health/ready", "/ping", "/v2/health/ready"]
LIVE = ["/health/live", "/v2/health/live"]
SMALL = Limits(rows=2, bytes=2000, queue=5, uploads=3, seconds=0.05)


@pytest.fixture
def small(predictor: Predictor) -> FastAPI:
    """A service that takes two rows, five waiting requests and three uploads."""
    return create_app(Service(Model(predictor, {"version": 7}, SMALL)))


def message(response: Any) -> str:
    """The sentence of an error in any protocol's form."""
    error = response.json()["error"]
    return str(error if isinstance(error, str) else error["message"])


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("content-type", "text/plain", "The body must be JSON"),
        ("content-type", "multipart/form-data; boundary=x", "The body must be JSON"),
        ("content-type", "application/jsonx", "The body must be JSON"),
        ("content-type", "", "The body must be JSON"),
        ("content-encoding", "gzip", "The body must not be compressed."),
        ("content-encoding", "br", "The body must not be compressed."),
    ],
)
def test_a_body_that_is_not_plain_json_is_refused(
    shared: TestClient, name: str, value: str, sentence: str
) -> None:
    for path in PREDICTING:
        response = shared.post(path, content=b"\x1f\x8b", headers={name: value})
        assert response.status_code == 415 and message(response).startswith(sentence)


def test_json_is_taken_however_it_is_declared(shared: TestClient) -> None:
    media = ("Application/JSON; charset=utf-8", "application/vnd.api+json", None)
    for one in (*media, "application/x-www-form-urlencoded"):
        headers = {"content-type": one} if one else {}
        content = json.dumps(REQUEST).encode()
        assert shared.post("/v1/predict", content=content, headers=headers).status_code == 200


def test_too_many_rows_are_refused_with_the_number_that_may_come(small: FastAPI) -> None:
    rows = [CONTRACT.example] * 3
    columns = {name: [value] * 3 for name, value in rows[0].items()}
    tensors = [
        {"name": name, "datatype": "FP64", "shape": [3], "data": data}
        for name, data in columns.items()
    ]
    for path, body in (
        ("/v1/predict", {"instances": rows}),
        ("/invocations", {"dataframe_records": rows}),
        ("/invocations", {"inputs": columns}),
        ("/v2/models/rents/infer", {"inputs": tensors}),
    ):
        response = TestClient(small).post(path, json=body)
        assert response.status_code == 422 and "a list of 1 to 2" in response.text


Messages = list[dict[str, Any]]


def post(path: str, method: str = "POST") -> dict[str, Any]:
    """A request below HTTP."""
    return {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": [],
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
    }  # fmt: skip


async def ask(app: Any, scope: dict[str, Any], *messages: dict[str, Any]) -> Messages:
    """One request whose body comes in these messages, after which nothing comes."""
    sent: Messages = []
    left = list(messages)

    async def receive() -> Any:
        return left.pop(0) if left else await asyncio.Event().wait()

    async def send(item: Any) -> None:
        sent.append(item)

    await app(scope, receive, send)
    return sent


WHOLE = {"type": "http.request", "body": b"{}", "more_body": False}
PART = {"type": "http.request", "body": b"{", "more_body": True}


@pytest.mark.parametrize("path", PREDICTING)
def test_a_long_body_is_refused_by_its_length_or_while_it_comes(small: FastAPI, path: str) -> None:
    for length in ("2001", "9" * 20):
        response = TestClient(small).post(path, content=b"", headers={"content-length": length})
        assert response.status_code == 413
        assert message(response) == "The body may have 2,000 bytes."
    assert (
        TestClient(small).post(path, content=b" " * 2000).status_code == 400
    ), "as long as it may be"
    piece = {"type": "http.request", "body": b" " * 1000, "more_body": True}
    for headers in ([], [(b"content-length", b"5")]):
        scope = post(path) | {"headers": headers}
        assert asyncio.run(ask(small, scope, *[piece] * 3))[0]["status"] == 413


@pytest.mark.parametrize("path", PREDICTING)
def test_the_last_of_too_many_requests_are_shed(small: FastAPI, path: str) -> None:
    async def burst() -> list[Messages]:
        many = [ask(small, post(path), WHOLE) for _ in range(8)]
        always = [ask(small, post(one, "GET")) for one in (*READY, *LIVE, "/metrics")]
        return await asyncio.gather(*many, *always)

    answers = asyncio.run(burst())
    assert [one[0]["status"] for one in answers] == [422] * 5 + [503] * 3 + [200] * 6
    assert (b"retry-after", b"1") in answers[7][0]["headers"]
    assert b"5 requests were waiting before this one." in answers[7][1]["body"]
    assert 'requests_shed_total{reason="queue"} 3.0' in TestClient(small).get("/metrics").text


def test_a_slow_body_is_ended_and_slow_ones_hold_few_places(small: FastAPI) -> None:
    async def scenario() -> list[Messages]:
        slow = [ask(small, post("/v1/predict"), PART) for _ in range(4)]
        return await asyncio.gather(*slow, ask(small, post("/v1/model", "GET")))

    answers = asyncio.run(scenario())
    assert [one[0]["status"] for one in answers] == [408] * 3 + [503, 200]
    assert (b"connection", b"close") in answers[0][0]["headers"]
    assert TestClient(small).post("/v1/predict", json=REQUEST).status_code == 200


def test_a_body_that_comes_in_many_pieces_has_no_more_time_than_another(small: FastAPI) -> None:
    sent: Messages = []

    async def receive() -> Any:
        await asyncio.sleep(SMALL.seconds / 3)
        return {"type": "http.request", "body": b" " * 100, "more_body": True}

    async def send(item: Any) -> None:
        sent.append(item)

    asyncio.run(small(post("/v1/predict"), receive, send))
    assert sent[0]["status"] == 408


def test_a_client_that_leaves_in_mid_body_is_no_failure(small: FastAPI) -> None:
    gone = {"type": "http.disconnect"}
    for _ in range(4):
        assert asyncio.run(ask(small, post("/v1/predict"), PART, gone)) == []
    client = TestClient(small)
    assert client.post("/v1/predict", json=REQUEST).status_code == 200
    text = client.get("/metrics").text
    assert 'http_response_status_code="499"' in text
    assert 'model_predictions_total{outcome="failed"} 0.0' in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/predict", 200), ("POST", "/v1/predict", 422), ("GET", "/v1/predict", 405),
        ("GET", "/health/live", 200), ("GET", "/nothing", 404), ("GET", "/metrics", 200),
        ("GET", "/v2/models/other", 404), ("GET", "/docs", 200),
    ],
)  # fmt: skip
def test_every_answer_has_the_headers_of_the_service(
    shared: TestClient, method: str, path: str, status: int
) -> None:
    body = REQUEST if status == 200 else {}
    response = shared.request(method, path, json=body, headers={"x-request-id": "r-1"})
    assert response.status_code == status
    assert response.headers["x-request-id"] == "r-1"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert "server" not in response.headers


def test_a_service_that_stops_answers_and_ends_connections(
    service: Service, client: TestClient
) -> None:
    service.draining = True
    assert [client.get(path).status_code for path in (*READY, *LIVE)] == [503] * 3 + [200] * 2
    response = client.post("/v1/predict", json=REQUEST)
    assert (response.status_code, response.headers["connection"]) == (200, "close")


def test_an_answer_that_has_begun_is_cut_when_it_fails(service: Service) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("half way")

    app = Middleware(broken, service, ApiKeys(), lambda *_: Response())
    with pytest.raises(ValueError, match="half way"):
        TestClient(app).get("/")


class Broken:
    """Stands for a predictor that fails on every row."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def predict(self, rows: Any) -> None:
        """Fail."""
        raise self.error


@pytest.mark.parametrize(
    "error", [BundleError("/srv/secret broke"), ValueError("/srv/secret broke"), RecursionError()]
)
def test_a_failure_of_ours_is_counted_and_says_nothing_about_itself(
    service: Service, client: TestClient, error: Exception
) -> None:
    service.model.predictor = Broken(error)
    for path in ("/v1/predict", "/invocations"):
        with capture_logs() as logs:
            response = client.post(path, json=REQUEST, headers={"x-request-id": "abc-1"})
        assert response.status_code == 500
        assert response.headers["x-request-id"] == "abc-1"
        assert "secret" not in response.text and "Traceback" not in response.text
        [line] = logs
        assert (line["log_level"], line["request_id"], line["exc_info"]) == (
            "error",
            "abc-1",
            error,
        )
    assert 'model_predictions_total{outcome="failed"} 2.0' in client.get("/metrics").text


def test_a_well_formed_request_id_is_kept_and_another_is_replaced(shared: TestClient) -> None:
    kept = ["abc", "7f3a.B-2_x", "a" * 128]
    for sent in (*kept, "", "a b", "<script>", "a" * 129, "é", "a;b"):
        headers = {"x-request-id": sent.encode("latin-1")}
        found = shared.get("/health/live", headers=headers).headers["x-request-id"]
        assert found == sent if sent in kept else len(found) == 32


def test_a_subject_that_is_no_printable_text_is_refused(shared: TestClient) -> None:
    for path, subject in itertools.product(PREDICTING, (b"", b"\xe9", b"a" * 129, b"a\tb")):
        response = shared.post(path, json=REQUEST, headers={b"x-subject-id": subject})
        assert response.status_code == 400
        assert message(response) == "x-subject-id: 1 to 128 printable ASCII characters."


def test_answered_and_refused_rows_reach_the_log(memory: Memory, model: Model) -> None:
    client = TestClient(create_app(Service(model, memory)))
    rows = [CONTRACT.example, {**CONTRACT.example, "area": 345.0, "balcony": None}]
    headers = {"x-request-id": "r-1", "x-subject-id": "home 7"}
    answer = client.post("/v1/predict", json={"instances": rows}, headers=headers).json()
    [scored] = memory.predicted
    assert list(scored.ids) == [one["id"] for one in answer["predictions"]]
    assert str(scored.rows.tolist()) == "[[70.5, 3.0, 1.0, 4.0], [345.0, 3.0, 1.0, nan]]"
    assert scored.value.tolist() == [one["value"] for one in answer["predictions"]]
    assert (scored.upper - scored.value).tolist() == pytest.approx([HALF_WIDTH] * 2)
    assert scored.unusual is not None and scored.unusual.tolist() == [
        [False] * 4,
        [True, False, False, False],
    ]
    assert (scored.request_id, scored.subject) == ("r-1", "home 7")
    assert (scored.source, scored.role) == ("serve", "champion")
    assert scored.model == ("7", model.digest, model.contract)
    assert scored.latency is not None and 0 < scored.latency < 60
    bad = {**CONTRACT.example, "area": "70"}
    client.post("/v1/predict", json={"instances": [bad, bad]})
    [refused] = memory.refused
    assert [(one.column, one.got) for one in refused.violations] == [("area", "text")] * 2
    assert len(memory.predicted) == 1
