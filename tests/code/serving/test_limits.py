"""A request that costs too much is refused before it does."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect

from mlref.bundle.predictor import Predictor
from mlref.serving.app import create_app
from mlref.serving.limits import BodyTooLarge, BodyTooSlow, Limits
from tests.fakes import CONTRACT

REQUEST = {"instances": [CONTRACT.example]}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def small(predictor: Predictor) -> TestClient:
    """A service that takes little."""
    limits = Limits(header_bytes=400, body_bytes=200)
    return TestClient(create_app(predictor, {"version": 1}, limits))


@pytest.mark.parametrize(
    ("headers", "content", "status", "code"),
    [
        pytest.param({}, b" " * 201, 413, "body_too_large", id="a long body"),
        pytest.param({"cookie": "c" * 400}, b"{}", 431, "headers_too_large", id="a long header"),
        pytest.param({f"x-{i}": "" for i in range(99)}, b"{}", 431, "headers_too_large", id="many headers"),
        pytest.param({"content-encoding": "gzip"}, b"{}", 415, "wrong_media_type", id="a gzip bomb"),
        pytest.param({"content-type": "text/csv"}, b"{}", 415, "wrong_media_type", id="CSV"),
        pytest.param({"content-type": FORM}, b"{}", 415, "wrong_media_type", id="a form"),
    ],
)  # fmt: skip
def test_too_much_or_something_else_is_refused(
    small: TestClient, headers: dict[str, str], content: bytes, status: int, code: str
) -> None:
    """With the status that HTTP has for it, and a sentence."""
    response = small.post("/v1/predict", content=content, headers=headers)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert error["message"].endswith(".") and error["request_id"]


@pytest.mark.parametrize("media", ["application/json", "Application/JSON; charset=utf-8", None])
def test_json_is_taken_however_it_is_declared(small: TestClient, media: str | None) -> None:
    """Also undeclared, as some clients of the Open Inference Protocol send it."""
    headers = {"content-type": media} if media else {}
    response = small.post("/v1/predict", content=b'{"instances": 5}', headers=headers)
    assert response.json()["error"]["code"] == "rows_refused"


def test_a_body_without_a_length_is_counted_while_it_comes(small: TestClient) -> None:
    """A chunked body announces nothing."""

    def pieces() -> Iterator[bytes]:
        yield from [b" " * 150] * 2

    response = small.post("/v1/predict", content=pieces())
    assert "content-length" not in response.request.headers
    assert response.status_code == 413
    assert response.headers["connection"] == "close"


def read(limits: Limits, *messages: Any) -> bytes:
    """Read a body that comes in these messages, after which nothing comes."""
    left = list(messages)

    async def receive() -> Any:
        if left:
            return left.pop(0)
        await asyncio.Event().wait()

    return asyncio.run(limits.read(receive))


def piece(body: bytes, more: bool) -> dict[str, object]:
    """A message of the server."""
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_comes_in_pieces() -> None:
    """They are put together."""
    assert read(Limits(), piece(b"ab", True), piece(b"c", False)) == b"abc"


def test_a_body_that_never_ends_is_given_up() -> None:
    """A client that announced more than it sends holds nothing for ever."""
    with pytest.raises(BodyTooSlow, match=r"within 0\.01 seconds"):
        read(Limits(body_seconds=0.01), piece(b"ab", True))


def test_a_body_is_not_held_beyond_the_limit() -> None:
    """What would come next is not waited for."""
    with pytest.raises(BodyTooLarge, match="larger than 3 bytes"):
        read(Limits(body_bytes=3), piece(b"ab", True), piece(b"cd", True))


def test_a_client_that_leaves_is_left() -> None:
    """In the middle of its body."""
    with pytest.raises(ClientDisconnect):
        read(Limits(), piece(b"ab", True), {"type": "http.disconnect"})
