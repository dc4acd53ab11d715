"""Hostile clients: whatever one sends, the service stays small and answers others; in about a minute."""

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from mlref.serving.keys import new
from tests.fakes import CONTRACT
from tests.system.test_service import service, variables

pytestmark = pytest.mark.load

GROWTH = 64.0
"""Megabytes that a flood may cost."""

LATE = 2.0
"""Seconds in which another client has its answer; generous for a busy machine."""

KEY, ENTRY = new("predict")
POST = f"POST /v1/predict HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n".encode()
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n0\r\n"


class Target:
    """A running service, its port and its memory."""

    def __init__(self, process: int, port: int) -> None:
        self.process, self.port = psutil.Process(process), port

    def memory(self) -> float:
        """Resident megabytes."""
        return float(self.process.memory_info().rss) / 1e6

    def health(self) -> float:
        """Seconds until another client has its answer."""
        started = time.monotonic()
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        link.request("GET", "/health/live")
        assert link.getresponse().status == 200
        link.close()
        return time.monotonic() - started

    def connect(self) -> socket.socket:
        """A new connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def pour(self, head: bytes, block: bytes, seconds: float = 4) -> None:
        """Send blocks after a head until the service has enough, or for so long."""
        with self.connect() as link:
            threading.Thread(target=drain, args=(link,), daemon=True).start()
            end = time.monotonic() + seconds
            try:
                link.sendall(head)
                while time.monotonic() < end:
                    link.sendall(block)
            except OSError:
                pass

    def ask(self, body: bytes) -> tuple[int, bytes]:
        """Send a body with the key; status and answer."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        link.request("POST", "/v1/predict", body, {"authorization": f"Bearer {KEY}"})
        answer = link.getresponse()
        content = answer.read()
        link.close()
        return answer.status, content


def drain(link: socket.socket) -> bytes:
    """Read until the service closes or says nothing more."""
    said = b""
    try:
        while part := link.recv(1 << 16):
            said += part
    except OSError:
        pass
    return said


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One service with a key for all floods."""
    known = variables(tmp_path_factory.mktemp("flooded")) | {"MLREF_API_KEYS": ENTRY}
    with service(known, "--no-log") as (process, address):
        yield Target(process.pid, int(address.rpartition(":")[2]))


def pipelined(target: Target) -> None:
    """Requests without a key, one after the other, whose answers nobody waits for."""
    target.pour(b"", b"GET /ping HTTP/1.1\r\nhost: a\r\n\r\n" * 512)


def trailers(target: Target) -> None:
    """Headers after a body, without end."""
    target.pour(CHUNKED, (b"a: " + b"x" * 8000 + b"\r\n") * 64)


def endless_head(target: Target) -> None:
    """A header without end."""
    target.pour(b"GET /ping HTTP/1.1\r\nx: ", b"a" * 65_536)


def bad_cells(target: Target) -> None:
    """Rows in which each cell is wrong."""
    rows = [dict.fromkeys(CONTRACT.names, "x")] * 5000
    status, answer = target.ask(json.dumps({"instances": rows}).encode())
    assert status == 422 and len(answer) < 30_000


def idle(target: Target) -> None:
    """A thousand connections that say nothing."""
    links = [target.connect() for _ in range(1000)]
    assert target.health() < LATE
    for link in links:
        link.close()


@pytest.mark.parametrize("flood", [pipelined, trailers, endless_head, bad_cells, idle])
def test_a_flood_neither_fills_memory_nor_silences_the_service(
    target: Target, flood: Callable[[Target], None]
) -> None:
    before, stop = target.memory(), threading.Event()
    peak, late = before, 0.0

    def watch() -> None:
        nonlocal peak, late
        while not stop.is_set():
            peak, late = max(peak, target.memory()), max(late, target.health())
            stop.wait(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        flood(target)
    finally:
        stop.set()
        watcher.join()
    assert peak - before < GROWTH
    assert late < LATE


def test_a_slow_body_is_ended(target: Target) -> None:
    with target.connect() as link:
        link.settimeout(20)
        link.sendall(POST + b"content-length: 1000\r\n\r\n{")
        said = drain(link)
    assert b" 408 " in said and b"too_slow" in said


def send(target: Target, content: bytes) -> list[bytes]:
    """Statuses that raw bytes are answered with."""
    with target.connect() as link:
        link.settimeout(1)
        link.sendall(content)
        return re.findall(rb"HTTP/1\.1 (\d+)", drain(link))


GOOD = json.dumps({"instances": [CONTRACT.example]}).encode()
LENGTH = b"content-length: %d\r\n" % len(GOOD)
HIDDEN = b"GET /v1/model HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("content", "statuses"),
    [
        pytest.param(POST + LENGTH + b"\r\n" + GOOD, [b"200"], id="a good request"),
        pytest.param(
            POST + LENGTH + b"\r\n" + GOOD + b"nonsense \x00\r\n\r\n", [b"200", b"400"],
            id="garbage after it",
        ),
        pytest.param(
            POST + b"connection: upgrade\r\nupgrade: x\r\ncontent-length: %d\r\n\r\n" % len(HIDDEN)
            + HIDDEN,
            [b"400"], id="a request as the body of an upgrade",
        ),
        pytest.param(
            POST.replace(b"authorization", b"x-nothing") + b"transfer-encoding: chunked\r\n\r\n%x\r\n"
            % len(GOOD) + GOOD + b"\r\n0\r\nauthorization: Bearer " + KEY.encode() + b"\r\n\r\n",
            [b"401"], id="a key in a trailer",
        ),
    ],
)  # fmt: skip
def test_requests_that_others_would_read_differently(
    target: Target, content: bytes, statuses: list[bytes]
) -> None:
    assert send(target, content) == statuses
