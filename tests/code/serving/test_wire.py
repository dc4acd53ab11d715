"""What happens below the application, over real connections: time, heads, lies about lengths."""

import asyncio
import contextlib
import gc
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from mlref.bundle.predictor import Predictor
from mlref.serving import wire
from mlref.serving.app import create_app
from mlref.serving.limits import Limits
from mlref.serving.server import listen
from mlref.serving.service import Model, Service
from mlref.serving.wire import Server
from tests.fakes import CONTRACT

BODY = json.dumps({"instances": [CONTRACT.example]}).encode()
HEAD = b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
WITHIN = 30
"""Seconds; only bounds a hang."""


@contextlib.contextmanager
def running(
    predictor: Predictor,
    limits: Limits,
    beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> Iterator[tuple[str, int]]:
    """A real server in a thread, which looks at the clock at every tick; its address."""
    front = create_app(Service(Model(predictor, {"version": 7}, limits)))
    server = Server(front, 0.0, beside)
    with pytest.MonkeyPatch.context() as patch, listen("127.0.0.1", 0) as listener:
        patch.setattr(wire, "EVERY", 1)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(WITHIN)


@pytest.fixture(scope="module")
def address(predictor: Predictor) -> Iterator[tuple[str, int]]:
    """A server with heads of 500 bytes and half a second for a request."""
    with running(predictor, Limits(head=500, seconds=0.5)) as address:
        yield address


def exchange(address: tuple[str, int], *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes and read one answer, to the end of the connection where it ends."""
    with socket.create_connection(address, timeout=WITHIN) as connection:
        for part in parts:
            connection.sendall(part)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, dict(response.getheaders()), response.read()


def test_a_body_that_is_shorter_than_announced_is_not_waited_for(address: tuple[str, int]) -> None:
    """408 once its time is over, and the connection ends."""
    lie = HEAD + b"content-length: %d\r\n\r\n" % (len(BODY) + 10)
    status, headers, body = exchange(address, lie, BODY)
    assert (status, headers["connection"]) == (408, "close")
    error = json.loads(body)["error"]
    assert error["code"] == "too_slow"
    assert error["message"] == "The request had not arrived after 0.5 seconds."
    assert error["request_id"] == headers["x-request-id"]


def test_a_body_that_is_longer_than_announced_is_cut_there(address: tuple[str, int]) -> None:
    """What comes after it is no request."""
    lie = HEAD + b"content-length: 5\r\n\r\n"
    status, _, body = exchange(address, lie, BODY)
    assert status == 400
    assert json.loads(body)["error"]["code"] in ("invalid_json", "invalid_request")


@pytest.mark.parametrize("lie", [b"many", b"-5", b"5\r\ncontent-length: 6"])
def test_a_length_that_is_none_is_refused(address: tuple[str, int], lie: bytes) -> None:
    """By the parser, in the form of all errors."""
    head = HEAD + b"content-length: %s\r\n\r\n" % lie
    status, headers, body = exchange(address, head, BODY)
    assert (status, headers["content-type"]) == (400, "application/json")
    assert json.loads(body)["error"]["code"] == "invalid_request"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(HEAD + b"cookie: " + b"c" * 600 + b"\r\n\r\n", id="a long header"),
        pytest.param(HEAD + b"".join(b"x-%d: 1\r\n" % i for i in range(200)) + b"\r\n", id="many headers"),
        pytest.param(b"GET /" + b"a" * 600 + b" HTTP/1.1\r\n\r\n", id="a long address"),
    ],
)  # fmt: skip
def test_a_long_head_is_refused(address: tuple[str, int], head: bytes) -> None:
    """431, however it is long."""
    halves = len(head) // 2
    status, headers, body = exchange(address, head[:halves], head[halves:])
    assert (status, headers["connection"]) == (431, "close")
    assert json.loads(body)["error"]["message"] == "The head of a request may have 500 bytes."


def test_what_is_not_http_is_refused(address: tuple[str, int]) -> None:
    """In the form of all errors, with the headers of all answers."""
    status, headers, body = exchange(address, b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    assert (status, json.loads(body)["error"]["code"]) == (400, "invalid_request")
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "sent", [b"", b"POST /v1/predict HTTP/1.1\r\nhost", HEAD + b"content-length: 9\r\n\r\n{"]
)
def test_a_connection_that_says_nothing_more_ends(address: tuple[str, int], sent: bytes) -> None:
    """With a 408, wherever it stopped: it would be held for ever."""
    status, headers, _ = exchange(address, sent)
    assert (status, headers["connection"]) == (408, "close")


def trickle(address: tuple[str, int], head: bytes, piece: bytes) -> bytes:
    """Send a head and then pieces without end; the first line of the answer."""
    with socket.create_connection(address, timeout=WITHIN) as connection:
        connection.sendall(head)
        deadline = time.monotonic() + WITHIN
        answered = b""
        connection.settimeout(0.02)
        while not answered and time.monotonic() < deadline:
            connection.sendall(piece)
            with contextlib.suppress(TimeoutError):
                answered = connection.recv(4096)
    return answered.partition(b"\r\n")[0]


def test_a_slow_body_is_ended_though_it_goes_on(address: tuple[str, int]) -> None:
    """A byte now and then does not buy time: the whole request has one."""
    head = HEAD + b"content-length: 999\r\n\r\n"
    assert trickle(address, head, b" ") == b"HTTP/1.1 408 Request Timeout"


def test_a_header_without_an_end_is_not_kept(address: tuple[str, int]) -> None:
    """The parser shows a header when it is complete; what it holds until then is counted too."""
    line = trickle(address, HEAD + b"cookie: ", b"c" * 200)
    assert line == b"HTTP/1.1 431 Request Header Fields Too Large"


def test_a_connection_can_be_used_again_however_long_it_rests(address: tuple[str, int]) -> None:
    """The time counts within a request, not between two."""
    client = http.client.HTTPConnection(*address, timeout=WITHIN)
    for rest in (0.0, 0.8):
        threading.Event().wait(rest)
        client.request("POST", "/v1/predict", BODY)
        response = client.getresponse()
        assert (response.status, b"predictions" in response.read()) == (200, True)
    client.close()


def test_after_a_refused_length_nothing_of_the_body_is_kept(address: tuple[str, int]) -> None:
    """413 comes at once; what is sent all the same is read and forgotten, or the connection ends."""
    status, _, body = exchange(address, HEAD + b"content-length: 50000000\r\n\r\n", b" " * 100_000)
    assert (status, json.loads(body)["error"]["code"]) == (413, "body_too_large")


def test_a_thousand_idle_connections_keep_nobody_out(address: tuple[str, int]) -> None:
    """A client among them is answered, and they end by themselves."""
    idle = [socket.create_connection(address, timeout=WITHIN) for _ in range(1000)]
    try:
        request = HEAD + b"content-length: %d\r\n\r\n" % len(BODY)
        assert exchange(address, request, BODY)[0] == 200
        assert idle[-1].recv(12) == b"HTTP/1.1 408"
    finally:
        for connection in idle:
            connection.close()


def test_a_hundred_thousand_brackets_end_nothing(address: tuple[str, int]) -> None:
    """A deeply nested body is refused, and the process goes on."""
    for body in (b"[" * 100_000, b'{"instances":[{"area":' + b"[" * 100 + b"]" * 100 + b"}]}"):
        request = HEAD + b"content-length: %d\r\n\r\n" % len(body)
        assert exchange(address, request, body)[0] in (400, 422)
    assert exchange(address, HEAD + b"content-length: %d\r\n\r\n" % len(BODY), BODY)[0] == 200


def test_of_a_burst_the_last_are_shed(predictor: Predictor) -> None:
    """Forty requests at once, five may wait: about as many are answered, the others get 503."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def note() -> None:
        loops.append(asyncio.get_running_loop())

    request = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
    health = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"
    go_on = threading.Event()
    with running(predictor, Limits(queue=5), note) as address, contextlib.ExitStack() as stack:
        connections = [socket.create_connection(address, timeout=WITHIN) for _ in range(40)]
        clients = [stack.enter_context(connection) for connection in connections]
        # answered once, so the loop knows them all
        assert [status_of(client, health) for client in clients] == [200] * 40
        loops[0].call_soon_threadsafe(go_on.wait, WITHIN)
        for client in clients[:-1]:
            client.sendall(request)
        clients[-1].sendall(health)
        go_on.set()
        *statuses, alive = [status_of(client) for client in clients]
    assert alive == 200
    assert set(statuses) == {200, 503}
    assert 3 <= statuses.count(200) <= 30


def status_of(connection: socket.socket, request: bytes = b"") -> int:
    """Status of the next answer of a connection that stays open."""
    connection.sendall(request)
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def whole(address: tuple[str, int], request: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Status line, sorted headers and body of the one answer of a connection that ends with it."""
    with socket.create_connection(address, timeout=WITHIN) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    return status, sorted(headers), body


CLOSE = b"connection: close\r\nx-request-id: r\r\n"
REQUESTS = {
    "predicted": HEAD + CLOSE + b"content-length: %d\r\n\r\n" % len(BODY) + BODY,
    "refused": HEAD + CLOSE + b"content-length: 2\r\n\r\n{}",
    "old HTTP": HEAD.replace(b"1.1", b"1.0") + b"x-request-id: r\r\ncontent-length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_the_answer_in_one_piece_is_the_one_that_uvicorn_would_send(
    request_: bytes, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status, headers and body; an id of a prediction is its own, and the date goes on."""
    ways: list[bool] = []

    def noted(*arguments: Any) -> bool:
        ways.append(at_once(*arguments))
        return ways[-1]

    def told(answer: tuple[bytes, list[bytes], bytes]) -> tuple[Any, ...]:
        status, headers, body = answer
        content = json.loads(body)
        for row in content.get("predictions", ()):
            row.pop("id")
        return status, [h for h in headers if not h.startswith(b"date")], content, len(headers)

    at_once = wire.at_once
    monkeypatch.setattr(wire, "at_once", noted)
    quick = whole(address, request_)
    monkeypatch.setattr(wire, "at_once", lambda *_: False)
    assert told(quick) == told(whole(address, request_)) and ways == [True]


def test_of_a_head_request_no_body_is_sent(address: tuple[str, int]) -> None:
    """It would be taken for the next answer."""
    _, _, body = whole(address, b"HEAD /v1/predict HTTP/1.1\r\nhost: x\r\n" + CLOSE + b"\r\n")
    assert body == b""


def test_requests_that_come_together_are_answered_in_their_order(address: tuple[str, int]) -> None:
    """A second one on its way is not lost, also behind one that went past FastAPI."""
    first = HEAD + b"x-request-id: a\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY
    second = b"GET /v1/model HTTP/1.1\r\nhost: x\r\nx-request-id: b\r\n\r\n"
    third = first.replace(b"id: a\r\n", b"id: c\r\nconnection: close\r\n")
    with socket.create_connection(address, timeout=WITHIN) as connection:
        connection.sendall(first + second + third)
        answers = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200"] * 3
    assert re.findall(rb"x-request-id: (\w)", answers) == [b"a", b"b", b"c"]


def test_an_answered_request_leaves_no_garbage(predictor: Predictor) -> None:
    """Objects in a circle wait for the collector, which then stops all requests for 25 ms."""
    request = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
    with running(predictor, Limits()) as address:
        with socket.create_connection(address, timeout=WITHIN) as connection:
            status_of(connection, request)
            gc.collect()
            gc.disable()
            try:
                for _ in range(50):
                    assert status_of(connection, request) == 200
                assert gc.collect() < 50
            finally:
                gc.enable()
