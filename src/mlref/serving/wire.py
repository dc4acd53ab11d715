"""What uvicorn leaves open: how long a head is, and how long a request takes to come.

httptools reads headers without end, and a connection that sends nothing is kept for ever.
"""

import asyncio
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import chain
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from mlref.core.errors import MlrefError
from mlref.serving.answer import head_of
from mlref.serving.boundary import HeadTooLarge, InvalidRequest, TooSlow, refuse
from mlref.serving.front import Front

EVERY = 10
"""Ticks of the server, of a tenth of a second, between two looks at the clock."""

CLOSE = b"connection: close\r\n"


class Connection(HttpToolsProtocol):
    """One connection; its server tells it the limits.

    Attributes
    ----------
    since : float or None
        When the request that is on its way began, or the wait for the first one; None between requests.
    """

    front: Front

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the time: a client that connects is about to ask."""
        super().connection_made(transport)  # type: ignore[arg-type] # uvicorn wants less than asyncio
        self.since: float | None = self.loop.time()
        self._head_is_open, self._unfinished = False, 0
        self._fault: MlrefError = InvalidRequest("What was sent is not HTTP/1.1.")

    def on_message_begin(self) -> None:
        """Note the time at the first byte."""
        super().on_message_begin()
        self.since = self.loop.time()
        self._head_is_open, self._unfinished = True, 0

    def on_message_complete(self) -> None:
        """The request is there; how long its answer takes is our affair."""
        self.since = None
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        """The head is there, and with it the place in the queue."""
        self._head_is_open = False
        length = len(self.url) + sum(map(len, chain.from_iterable(self.headers)))
        if length > self.front.limits.head:
            self._fault = self._too_long()
            raise ValueError  # stops the parser, which calls send_400_response
        self.scope["state"]["before"] = self.front.waiting()
        super().on_headers_complete()
        self.scope["state"]["at_once"] = partial(at_once, self.cycle)

    def data_received(self, data: bytes) -> None:
        """Take in bytes; those of a head without an end are counted here."""
        open_before = self._head_is_open
        super().data_received(data)
        if open_before and self._head_is_open and not self.transport.is_closing():
            self._unfinished += len(data)
            if self._unfinished > self.front.limits.head:
                self._end(self._too_long())

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused, in the form of all errors."""
        self._end(self._fault)

    def check_time(self, now: float) -> None:
        """End a request that takes too long to come."""
        limit = self.front.limits.seconds
        if self.since is None or now - self.since < limit or self.transport.is_closing():
            return
        if self.cycle is not None and self.cycle.response_started:
            self.transport.close()  # it has its answer, so there is nothing more to say
        else:
            self._end(TooSlow(f"The request had not arrived after {limit:g} seconds."))

    def _too_long(self) -> HeadTooLarge:
        return HeadTooLarge(f"The head of a request may have {self.front.limits.head} bytes.")

    def _end(self, error: MlrefError) -> None:
        """Send an error from below the application, and close."""
        request_id = os.urandom(16).hex()
        refusal = refuse(error, request_id)
        body = refusal.body(request_id)
        head = STATUS_LINE[refusal.status] + head_of(request_id, body) + CLOSE
        self.transport.write(head + b"\r\n" + body)
        self.transport.close()
        self.front.service.metrics.answered(("", "other", str(refusal.status)), 0.0)


def at_once(cycle: RequestResponseCycle, status: int, head: bytes, body: bytes) -> bool:
    """Send an answer as uvicorn does, but in one call of the system, and without a look at each header.

    A tenth of the CPU of a small request. False, and nothing is done, while the client does not read.
    """
    if cycle.flow.write_paused or cycle.disconnected or cycle.response_started:
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    own = (b"%s: %s\r\n" % header for header in cycle.default_headers)
    parts = [STATUS_LINE[status], *own, head]
    if not cycle.keep_alive:
        parts.append(CLOSE)
    cycle.transport.write(b"".join([*parts, b"\r\n", body]))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


class Server(uvicorn.Server):
    """The server, with an eye on the clock and a way to stop in three steps.

    Parameters
    ----------
    front : Front
        The application.
    drain : float
        Seconds between the sign that a stop is coming, which balancers see, and the stop.
    beside : coroutine function, optional
        What runs beside the requests.
    """

    def __init__(
        self, front: Front, drain: float, beside: Callable[[], Coroutine[Any, Any, None]] | None
    ) -> None:
        protocol = type("Connection", (Connection,), {"front": front})
        super().__init__(
            uvicorn.Config(
                front, http=protocol, ws="none", log_config=None, access_log=False,
                server_header=False, lifespan="off", proxy_headers=False,
                # longer than a balancer keeps a connection (mostly 60 seconds), so that it is its to end
                timeout_keep_alive=75,
                timeout_graceful_shutdown=math.ceil(front.limits.seconds),
            )  # fmt: skip
        )
        front.tasks = self.server_state.tasks
        self._front, self._drain, self._beside = front, drain, beside
        self._stop_at = math.inf

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and start what runs beside."""
        await super().startup(sockets)
        self._task = asyncio.create_task(self._beside()) if self._beside else None

    async def on_tick(self, counter: int) -> bool:
        """Look at the clock."""
        now = asyncio.get_running_loop().time()
        if counter % EVERY == 0:
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.check_time(now)
        self.should_exit = self.should_exit or time.monotonic() >= self._stop_at
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop: on SIGTERM after a while in which readiness says so; at once on Ctrl-C or when told twice."""
        draining, self._front.service.draining = self._front.service.draining, True
        if sig == signal.SIGTERM and self._drain and not draining:
            self._captured_signals.append(sig)
            self._stop_at = time.monotonic() + self._drain
        else:
            super().handle_exit(sig, frame)
