"""What every request passes before its route: keys, limits and its turn; and what every answer gets."""

import asyncio
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import NoReturn

from fastapi import Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlref.serving.errors import BodyTooLarge, InvalidHeader, Overloaded, TooSlow, WrongMediaType
from mlref.serving.keys import OPEN, ApiKeys
from mlref.serving.model import Service
from mlref.serving.request import RequestContext

HEADERS = {
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
}
"""Headers of every answer that does not bring its own."""

ADMIN = ("/metrics",)
"""Paths for the role `admin`."""

ALWAYS = re.compile(r"/health/.*|/ping|/v2/health/.*|/metrics").fullmatch
"""Paths that are answered however many requests wait."""

MEDIA = re.compile(
    rb"application/(json|[\w.-]+\+json|x-www-form-urlencoded)\s*(;.*)?", re.IGNORECASE
).fullmatch
"""JSON, or what curl sends where nobody named a type."""

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch
"""Ids that a client may choose: no free text gets into logs."""

SUBJECT = re.compile(r"[ -~]{1,128}").fullmatch

Headers = Mapping[bytes, bytes]
Respond = Callable[[Exception, str, str], Response]
"""Answers an error, by the path and the request id."""


class Middleware:
    """The one middleware of the service.

    Parameters
    ----------
    app : ASGIApp
        The routes.
    service : Service
        The model in use, with its metrics.
    keys : ApiKeys
        Which keys are known.
    respond : callable
        Answers an error.
    """

    def __init__(self, app: ASGIApp, service: Service, keys: ApiKeys, respond: Respond) -> None:
        self.app, self.service, self.keys, self.respond = app, service, keys, respond
        self.limits = service.model.limits
        self._longest = self.limits.body(service.model.contract)
        self._waiting = self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        path, headers = scope["path"], dict(scope["headers"])
        request_id = _request_id(headers)

        async def finish(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {**HEADERS, **dict(message["headers"]), b"x-request-id": request_id.encode()}
                if self.service.draining:
                    own[b"connection"] = b"close"
                message["headers"] = [*own.items()]
            await send(message)

        try:
            self._admit(scope, headers)
            context = RequestContext(request_id, _subject(headers), started)
            scope.setdefault("state", {})["context"] = context
            if scope["method"] == "POST":
                receive = _replay(await self._body(receive), receive)
            if not ALWAYS(path):
                await self._turn()
            await self.app(scope, receive, finish)
        except ClientDisconnect:
            status = 499
        except Exception as error:  # whatever it is, the client gets the one error body
            if status:
                raise  # the answer has begun: the server cuts the connection, which the client can see
            await self.respond(error, path, request_id)(scope, receive, finish)
        if status == 500:
            self.service.metrics.predictions.labels("failed").inc()
        route = getattr(scope.get("route"), "path", "other")
        seconds = time.perf_counter() - started
        self.service.metrics.requests.labels(scope["method"], route, status).observe(seconds)

    def _admit(self, scope: Scope, headers: Headers) -> None:
        """Refuse, before the body is read, what will not be answered."""
        path = scope["path"]
        if self.keys and not OPEN(path):  # first, so that nobody without a key takes a place
            role = "admin" if path in ADMIN else "predict"
            self.keys.check(headers.get(b"authorization"), role)
        if scope["method"] == "POST":
            if not MEDIA(headers.get(b"content-type", b"application/json")):
                raise WrongMediaType("The body must be JSON: `content-type: application/json`.")
            if headers.get(b"content-encoding", b"identity").lower() != b"identity":
                raise WrongMediaType("The body must not be compressed.")
            length = headers.get(b"content-length", b"0")
            self._check_length(int(length[:20]) if length.isdigit() else 0)

    async def _turn(self) -> None:
        """Wait until every request that has arrived is counted; the last of too many are refused."""
        if self._waiting >= self.limits.queue:
            self._shed("queue", f"{self._waiting} requests were waiting before this one.")
        self._waiting += 1
        try:
            await asyncio.sleep(0)
        finally:
            self._waiting -= 1

    async def _body(self, receive: Receive) -> bytes:
        """Read the body, bounded in size and in time."""
        if self._uploads >= self.limits.uploads:
            self._shed("uploads", f"The bodies of {self._uploads} requests are on their way.")
        parts, length, more = list[bytes](), 0, True
        self._uploads += 1
        try:
            async with asyncio.timeout(self.limits.seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    parts.append(message.get("body", b""))
                    length += len(parts[-1])
                    self._check_length(length)
                    more = message.get("more_body", False)
        except TimeoutError:
            limit = f"{self.limits.seconds:g} seconds"
            raise TooSlow(f"The body had not arrived after {limit}.") from None
        finally:
            self._uploads -= 1
        return b"".join(parts)

    def _check_length(self, length: int) -> None:
        if length > self._longest:
            raise BodyTooLarge(f"The body may have {self._longest} bytes.")

    def _shed(self, reason: str, sentence: str) -> NoReturn:
        self.service.metrics.shed.labels(reason).inc()
        raise Overloaded(f"{sentence} Ask again in a second.")


def _replay(body: bytes, receive: Receive) -> Receive:
    """A channel whose first message is the whole body."""
    message: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replayed() -> Message:
        nonlocal message
        first, message = message, None
        return first or await receive()

    return replayed


def _request_id(headers: Headers) -> str:
    """The id that the client sent, when it is well formed, else a new one."""
    sent = headers.get(b"x-request-id", b"")
    return sent.decode() if REQUEST_ID(sent) else os.urandom(16).hex()


def _subject(headers: Headers) -> str | None:
    """Whom the rows are about: printable text that is stored and never interpreted."""
    sent = headers.get(b"x-subject-id")
    if sent is None:
        return None
    subject = sent.decode("latin-1")
    if not SUBJECT(subject):
        raise InvalidHeader("x-subject-id: 1 to 128 printable ASCII characters.")
    return subject
