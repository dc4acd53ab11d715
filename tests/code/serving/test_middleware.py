"""What is decided before a body is read, and the form of every answer."""

import asyncio
import json
from collections.abc import Iterator
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
ANSWERING_ALWAYS = [
    *("/health/live", "/health/ready", "/ping", "/v2/health/live", "/v2/health/ready", "/metrics"),
]


SMALL = Limits(rows=2, bytes=2000, queue=5, uploads=3, seconds=0.05)


@pytest.fixture
def small(predictor: Predictor) -> FastAPI:
    """A service that takes two rows, five waiting requests and three uploads."""
    return create_app(Service(Model(predictor, {"version": 7}, SMALL)))


def message(response: Any) -> str:
    """The sentence of an error in any protocol's form."""
    error = response.json()["error"]
    return str(error if isinstance(error, str) else error["message"])


@pytest.mark.parametrize("path", PREDICTING)
@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({"content-type": "text/csv"}, "The body must be JSON"),
        ({"content-type": "multipart/form-data; boundary=x"}, "The body must be JSON"),
        ({"content-type": "application/jsonx"}, "The body must be JSON"),
        ({"content-type": ""}, "The body must be JSON"),
        ({"content-encoding": "gzip"}, "The body must not be compressed."),
        ({"content-encoding": "br"}, "The body must not be compressed."),
    ],
)
def test_something_else_than_plain_json_is_refused(
    client: TestClient, path: str, headers: dict[str, str], sentence: str
) -> None:
    response = client.post(path, content=b"\x1f\x8b", headers=headers)
    assert response.status_code == 415
    assert message(response).startswith(sentence)


@pytest.mark.parametrize(
    "media",
    [
        *("application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json", None),
        "application/x-www-form-urlencoded",
    ],
)
def test_json_is_taken_however_it_is_declared(client: TestClient, media: str | None) -> None:
    headers = {"content-type": media} if media else {}
    content = b'{"instances": [{"area": 70, "rooms": 3, "heating": "oil", "balcony": null}]}'
    assert client.post("/v1/predict", content=content, headers=headers).status_code == 200


@pytest.mark.parametrize("path", PREDICTING)
@pytest.mark.parametrize("length", ["2001", "9" * 20])
def test_a_long_body_is_refused_by_its_length(small: FastAPI, path: str, length: str) -> None:
    headers = {"content-length": length}
    response = TestClient(small).post(path, content=b"", headers=headers)
    assert response.status_code == 413
    assert message(response) == "The body may have 2,000 bytes."


@pytest.mark.parametrize("path", PREDICTING)
@pytest.mark.parametrize("announced", [None, "5"])
def test_a_long_body_is_refused_while_it_comes(
    small: FastAPI, path: str, announced: str | None
) -> None:

    def pieces() -> Iterator[bytes]:
        yield from [b" " * 1000] * 100

    headers = {"content-length": announced} if announced else {}
    response = TestClient(small).post(path, content=pieces(), headers=headers)
    assert response.status_code == 413


def test_too_many_rows_are_refused_with_the_number_that_may_come(small: FastAPI) -> None:
    client = TestClient(small)
    rows = [CONTRACT.example] * 3
    allowed = "a list of 1 to 2"
    for path, body in (
        ("/v1/predict", {"instances": rows}),
        ("/invocations", {"dataframe_records": rows}),
        ("/invocations", {"inputs": {name: [value] * 3 for name, value in rows[0].items()}}),
    ):
        [detail] = client.post(path, json=body).json()["error"]["details"]
        assert detail["allowed"] == allowed
    inputs = [
        {"name": name, "datatype": "FP64", "shape": [3], "data": [value] * 3}
        for name, value in rows[0].items()
    ]
    response = client.post("/v2/models/rents/infer", json={"inputs": inputs})
    assert (response.status_code, allowed in message(response)) == (422, True)


Messages = list[dict[str, Any]]


def post(path: str, method: str = "POST") -> dict[str, Any]:
    """A request below HTTP."""
    return {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": [],
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
    }  # fmt: skip


async def ask(app: Any, scope: dict[str, Any], *messages: dict[str, Any]) -> Messages:
    """One request whose body comes in these messages; after them nothing comes, or the client leaves."""
    sent: Messages = []
    left = list(messages)

    async def receive() -> Any:
        if left:
            return left.pop(0)
        return await asyncio.Event().wait()

    async def send(item: Any) -> None:
        sent.append(item)

    await app(scope, receive, send)
    return sent


def whole(content: object) -> dict[str, Any]:
    """A body in one message."""
    return {"type": "http.request", "body": json.dumps(content).encode(), "more_body": False}


PART = {"type": "http.request", "body": b"{", "more_body": True}


@pytest.mark.parametrize("path", PREDICTING)
def test_the_last_of_too_many_requests_are_shed(small: FastAPI, path: str) -> None:
    async def burst() -> list[Messages]:
        many = [ask(small, post(path), whole({})) for _ in range(8)]
        always = [ask(small, post(one, "GET")) for one in ANSWERING_ALWAYS]
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


def test_a_client_that_leaves_in_mid_body_is_no_failure(small: FastAPI) -> None:
    gone = {"type": "http.disconnect"}
    for _ in range(4):
        assert asyncio.run(ask(small, post("/v1/predict"), PART, gone)) == []
    client = TestClient(small)
    assert client.post("/v1/predict", json=REQUEST).status_code == 200
    text = client.get("/metrics").text
    assert 'http_response_status_code="499"' in text
    assert 'model_predictions_total{outcome="failed"} 0.0' in text


@pytest.mark.parametrize("secret", [-77123.5, "dung", [-77123.5], {"dung": -77123.5}])
def test_no_protocol_gives_a_value_back(client: TestClient, secret: Any) -> None:
    row = {**CONTRACT.example, "area": secret}
    tensors = [
        {"name": name, "datatype": "FP64", "shape": [1], "data": [value]}
        for name, value in row.items()
    ]
    for path, request in (
        ("/v1/predict", {"instances": [row]}),
        ("/invocations", {"instances": [row]}),
        ("/invocations", {"dataframe_split": {"columns": [*row], "data": [[*row.values()]]}}),
        ("/v2/models/rents/infer", {"inputs": tensors}),
    ):
        response = client.post(path, json=request)
        assert response.status_code == 422
        assert "77123" not in response.text and "dung" not in response.text
        assert "area" in response.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/predict", 200), ("POST", "/v1/predict", 422), ("GET", "/v1/predict", 405),
        ("GET", "/health/live", 200), ("GET", "/nothing", 404), ("GET", "/metrics", 200),
        ("GET", "/v2/models/other", 404),
    ],
)  # fmt: skip
def test_every_answer_has_the_headers_of_the_service(
    client: TestClient, method: str, path: str, status: int
) -> None:
    response = client.request(
        method, path, json=REQUEST if status == 200 else {}, headers={"x-request-id": "r-1"}
    )
    assert response.status_code == status
    assert response.headers["x-request-id"] == "r-1"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert "server" not in response.headers


def test_a_service_that_stops_answers_and_ends_connections(service: Service) -> None:
    service.draining = True
    client = TestClient(create_app(service))
    for path in ("/health/ready", "/ping", "/v2/health/ready"):
        assert client.get(path).status_code == 503
    for path in ("/health/live", "/v2/health/live"):
        assert client.get(path).status_code == 200
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


@pytest.mark.parametrize("path", ["/v1/predict", "/invocations"])
@pytest.mark.parametrize(
    "error", [BundleError("/srv/secret broke"), ValueError("/srv/secret broke"), RecursionError()]
)
def test_a_failure_of_ours_says_nothing_about_itself(
    service: Service, client: TestClient, error: Exception, path: str
) -> None:
    service.model.predictor = Broken(error)  # type: ignore[assignment]
    with capture_logs() as logs:
        response = client.post(path, json=REQUEST, headers={"x-request-id": "abc-1"})
    assert response.status_code == 500
    assert response.headers["x-request-id"] == "abc-1"
    assert "secret" not in response.text and "Traceback" not in response.text
    [line] = logs
    assert (line["log_level"], line["request_id"], line["exc_info"]) == ("error", "abc-1", error)


@pytest.mark.parametrize("sent", ["abc", "7f3a.B-2_x", "a" * 128])
def test_a_well_formed_request_id_is_kept(client: TestClient, sent: str) -> None:
    response = client.get("/health/live", headers={"x-request-id": sent})
    assert response.headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", "a b", "<script>", "a" * 129, "é", "a;b"])
def test_a_malformed_request_id_is_replaced(client: TestClient, sent: str) -> None:
    response = client.get("/health/live", headers={"x-request-id": sent.encode("latin-1")})
    assert len(response.headers["x-request-id"]) == 32


@pytest.mark.parametrize("subject", [b"", b"\xe9", b"a" * 129, b"a\tb"])
def test_another_subject_is_refused(client: TestClient, subject: bytes) -> None:
    response = client.post("/v1/predict", json=REQUEST, headers={b"x-subject-id": subject})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_header"
    assert message(response) == "x-subject-id: 1 to 128 printable ASCII characters."


@pytest.fixture
def logging_client(model: Model, memory: Memory) -> TestClient:
    """A service that keeps its log there."""
    return TestClient(create_app(Service(model, memory)))


def test_answered_rows_reach_the_log(
    logging_client: TestClient, memory: Memory, model: Model
) -> None:
    rows = [CONTRACT.example, {**CONTRACT.example, "area": 345.0, "balcony": None}]
    headers = {"x-request-id": "r-1", "x-subject-id": "home 7"}
    answer = logging_client.post("/v1/predict", json={"instances": rows}, headers=headers).json()
    [scored] = memory.predicted
    assert list(scored.ids) == [one["id"] for one in answer["predictions"]]
    assert str(scored.rows.tolist()) == "[[70.5, 3.0, 1.0, 4.0], [345.0, 3.0, 1.0, nan]]"
    assert scored.value.tolist() == [one["value"] for one in answer["predictions"]]
    assert (scored.upper - scored.value).tolist() == pytest.approx([HALF_WIDTH] * 2)
    assert scored.unusual is not None
    assert scored.unusual.tolist() == [[False] * 4, [True, False, False, False]]
    assert (scored.request_id, scored.subjects) == ("r-1", ["home 7", "home 7"])
    assert (scored.source, scored.role) == ("serve", "champion")
    assert scored.model == ("7", model.digest, model.contract)
    assert scored.latency is not None and 0 < scored.latency < 60


def test_refusals_reach_the_log(logging_client: TestClient, memory: Memory) -> None:
    bad = {**CONTRACT.example, "area": "70"}
    logging_client.post("/v1/predict", json={"instances": [bad, bad]})
    [refused] = memory.refused
    assert [(one.column, one.got) for one in refused.violations] == [("area", "text")] * 2
    assert memory.predicted == []
