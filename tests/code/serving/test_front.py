"""What is decided before a body is read, and the form of every answer."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from mlref.bundle.predictor import Predictor
from mlref.serving.app import create_app
from mlref.serving.front import Front
from mlref.serving.keys import Keys
from mlref.serving.limits import Limits
from mlref.serving.service import Model, Service
from tests.code.serving.conftest import Memory
from tests.fakes import CONTRACT, HALF_WIDTH

REQUEST = {"instances": [CONTRACT.example]}
PREDICTING = ["/v1/predict", "/invocations", "/v2/models/rents/infer"]
ANSWERING_ALWAYS = [
    *("/health/live", "/health/ready", "/ping", "/v2/health/live", "/v2/health/ready", "/metrics"),
]


@pytest.fixture
def small(predictor: Predictor) -> Front:
    """A service that takes two rows, five waiting requests and three uploads."""
    return create_app(Service(Model(predictor, {"version": 7}, Limits(rows=2, queue=5, uploads=3))))


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
    """415: a compressed body may be a bomb, and guessing what CSV means would be a mistake."""
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
    """Also undeclared, and as curl declares what nobody named the type of."""
    headers = {"content-type": media} if media else {}
    content = b'{"instances": [{"area": 70, "rooms": 3, "heating": "oil", "balcony": null}]}'
    assert client.post("/v1/predict", content=content, headers=headers).status_code == 200


@pytest.mark.parametrize("path", PREDICTING)
@pytest.mark.parametrize("length", ["50000000", "9" * 5000])
def test_a_long_body_is_refused_by_its_length(small: Front, path: str, length: str) -> None:
    """Before it is read: 50 MB cost as little as none."""
    most = small.limits.body(CONTRACT)
    headers = {"content-length": length}
    response = TestClient(small).post(path, content=b"", headers=headers)
    assert response.status_code == 413
    assert message(response) == f"The body may have {most} bytes."


@pytest.mark.parametrize("path", PREDICTING)
@pytest.mark.parametrize("announced", [None, "5"])
def test_a_long_body_is_refused_while_it_comes(
    small: Front, path: str, announced: str | None
) -> None:
    """Where its length is not announced, or a lie."""

    def pieces() -> Iterator[bytes]:
        yield from [b" " * 1000] * 100

    headers = {"content-length": announced} if announced else {}
    response = TestClient(small).post(path, content=pieces(), headers=headers)
    assert response.status_code == 413


def test_too_many_rows_are_refused_with_the_number_that_may_come(small: Front) -> None:
    """In each protocol."""
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


def test_too_many_requests_are_shed(small: Front) -> None:
    """503 with a time to ask again; health and metrics go on, and count it."""
    before = 6

    async def busy(scope: Any, receive: Any, send: Any) -> None:
        await small({**scope, "state": {"before": before}}, receive, send)

    client = TestClient(busy)
    for path in PREDICTING:
        response = client.post(path, json=REQUEST)
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert (
            message(response) == "6 requests were waiting before this one. Ask again in a second."
        )
    for path in ANSWERING_ALWAYS:
        assert client.get(path).status_code == 200
    assert 'requests_shed_total{reason="queue"} 3.0' in client.get("/metrics").text
    before = 5
    assert client.post("/v1/predict", json=REQUEST).status_code == 200


def ask(app: Front, *messages: dict[str, object], **headers: str) -> Any:
    """One request below HTTP: start of its answer, or what was raised."""
    sent: list[dict[str, Any]] = []
    left = list(messages)

    async def receive() -> Any:
        return left.pop(0) if left else {"type": "http.disconnect"}

    async def send(item: Any) -> None:
        sent.append(item)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/predict",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return sent


def test_slow_bodies_hold_few_places(small: Front) -> None:
    """Requests whose bodies are on their way do not count as waiting, but are bounded too.

    What has no body is answered meanwhile.
    """
    statuses: list[int] = []

    async def send(item: Any) -> None:
        if item["type"] == "http.response.start":
            statuses.append(item["status"])

    async def scenario() -> None:
        never = asyncio.Event()

        async def receive() -> Any:
            await never.wait()

        scope = {"type": "http", "method": "POST", "path": "/v1/predict", "headers": []}
        slow = [asyncio.create_task(small(dict(scope), receive, send)) for _ in range(3)]
        small.tasks = slow
        await asyncio.sleep(0)
        await small(dict(scope), receive, send)
        await small({**scope, "method": "GET", "path": "/v1/model"}, receive, send)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)

    asyncio.run(scenario())
    assert statuses == [503, 200]
    assert TestClient(small).post("/v1/predict", json=REQUEST).status_code == 200


def test_a_client_that_leaves_is_left(small: Front) -> None:
    """In the middle of its body: nothing is sent, nothing is logged as a failure, the place is free again."""
    assert ask(small, {"type": "http.request", "body": b"{", "more_body": True}) == []
    assert small._uploads == 0
    text = TestClient(small).get("/metrics").text
    assert 'http_response_status_code="499"' in text
    assert 'model_predictions_total{outcome="failed"} 0.0' in text


@pytest.mark.parametrize("secret", [-77123.5, "dung", [-77123.5], {"dung": -77123.5}])
def test_no_protocol_gives_a_value_back(client: TestClient, secret: Any) -> None:
    """An answer ends up in the logs of others, and the values are about somebody."""
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
    """Not to be kept, not to be guessed at, not to be framed; with the request id."""
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
    """Readiness goes first; who asks still gets a prediction, and is told to connect anew."""
    service.draining = True
    client = TestClient(create_app(service))
    for path in ("/health/ready", "/ping", "/v2/health/ready"):
        assert client.get(path).status_code == 503
    for path in ("/health/live", "/v2/health/live"):
        assert client.get(path).status_code == 200
    response = client.post("/v1/predict", json=REQUEST)
    assert (response.status_code, response.headers["connection"]) == (200, "close")


def test_an_answer_that_has_begun_is_cut_when_it_fails(service: Service) -> None:
    """A second head in the middle of a body would look like a part of it; a cut connection can be seen."""

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("half way")

    client = TestClient(Front(service, {}, broken, Keys()))
    with pytest.raises(ValueError, match="half way"):
        client.get("/")


@pytest.mark.parametrize("subject", ["patient 7", "'; DROP TABLE predictions; --", "~" * 128])
def test_any_printable_text_is_a_subject(client: TestClient, subject: str) -> None:
    """It is stored and never interpreted."""
    response = client.post("/v1/predict", json=REQUEST, headers={"x-subject-id": subject})
    assert response.status_code == 200


@pytest.mark.parametrize("subject", [b"", b"\xe9", b"a" * 129, b"a\tb"])
def test_another_subject_is_refused(client: TestClient, subject: bytes) -> None:
    """400 says what is allowed."""
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
    """All that was answered: ids, encoded rows, values, intervals, warnings, and by which model."""
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


@pytest.mark.parametrize("path", PREDICTING[1:])
def test_other_protocols_reach_the_log_too(
    logging_client: TestClient, memory: Memory, model: Model, path: str
) -> None:
    """A row is a row, however it came."""
    [infer] = model.schema["components"]["schemas"]["InferRequest"]["examples"]
    body = infer if "infer" in path else REQUEST
    assert logging_client.post(path, json=body, headers={"x-request-id": "r-2"}).status_code == 200
    [scored] = memory.predicted
    assert (scored.rows.tolist(), scored.request_id) == ([[70.5, 3.0, 1.0, 4.0]], "r-2")


def test_refusals_reach_the_log(logging_client: TestClient, memory: Memory) -> None:
    """With what was sent named by its kind; the values are not handed on."""
    bad = {**CONTRACT.example, "area": "70"}
    logging_client.post("/v1/predict", json={"instances": [bad, bad]})
    [refused] = memory.refused
    assert [(one.column, one.got) for one in refused.violations] == [("area", "text")] * 2
    assert memory.predicted == []
