"""Before each route: API keys, limits and the queue. After it: headers, request id, duration."""

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

MEDIA = re.compile(
    rb"application/(json|[\w.-]+\+json|x-www-form-urlencoded)\s*(;.*)?", re.IGNORECASE
).fullmatch
"""JSON, or what curl sends where nobody named a type."""

CSV = re.compile(rb"text/csv\s*(;.*)?", re.IGNORECASE).fullmatch
"""What MLflow's own server takes beside JSON, at the path of its protocol."""

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch
"""Ids that a client may choose: no free text gets into logs."""

SUBJECT = re.compile(rb"[ -~]{1,128}").fullmatch
"""Whom the rows are about: printable text that is stored and never interpreted."""

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
        self._waiting = self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, headers = time.perf_counter(), 0, dict(scope["headers"])
        sent_id = headers.get(b"x-request-id", b"")
        request_id = sent_id.decode() if REQUEST_ID(sent_id) else os.urandom(16).hex()

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
            await self.app(scope, self._bounded(receive), finish)
        except ClientDisconnect:
            status = 499
        except Exception as error:  # whatever it is, the client gets the one error body
            if status:
                raise  # the answer has begun: the server cuts the connection, which the client can see
            await self.respond(error, scope["path"], request_id)(scope, receive, finish)
        if status == 500:
            self.service.metrics.predictions.labels("failed").inc()
        route = getattr(scope.get("route"), "path", "other")
        seconds = time.perf_counter() - started
        self.service.metrics.requests.labels(scope["method"], route, status).observe(seconds)

    def _admit(self, scope: Scope, headers: Headers) -> None:
        """Refuse a request by its headers, before its body is read."""
        path = scope["path"]
        if self.keys and not OPEN(path):  # first, so that nobody without a key takes a place
            role = "admin" if path in ADMIN else "predict"
            self.keys.check(headers.get(b"authorization"), role)
        if scope["method"] == "POST":
            media = headers.get(b"content-type", b"application/json")
            if not (MEDIA(media) or (path == "/invocations" and CSV(media))):
                raise WrongMediaType("The body must be JSON: `content-type: application/json`.")
            if headers.get(b"content-encoding", b"identity").lower() != b"identity":
                raise WrongMediaType("The body must not be compressed.")
            self._check_length(int(headers.get(b"content-length", b"0")))

    def _bounded(self, receive: Receive) -> Receive:
        """A channel that bounds the body in size and in time, and has it wait for its turn."""
        length, whole = 0, False
        deadline = asyncio.get_running_loop().time() + self.limits.seconds

        async def bounded() -> Message:
            nonlocal length, whole
            if whole:
                return await receive()
            if self._uploads >= self.limits.uploads:
                self._shed("uploads", f"The bodies of {self._uploads} requests are on their way.")
            self._uploads += 1
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                limit = f"{self.limits.seconds:g} seconds"
                raise TooSlow(f"The body had not arrived after {limit}.") from None
            finally:
                self._uploads -= 1
            length += len(message.get("body", b""))
            self._check_length(length)
            whole = not message.get("more_body", False)
            if whole:
                await self._turn()
            return message

        return bounded

    async def _turn(self) -> None:
        """Wait until every request that has arrived is counted; the last of too many are refused."""
        if self._waiting >= self.limits.queue:
            self._shed("queue", f"{self._waiting} requests were waiting before this one.")
        self._waiting += 1
        try:
            await asyncio.sleep(0)
        finally:
            self._waiting -= 1

    def _check_length(self, length: int) -> None:
        if length > self.limits.bytes:
            raise BodyTooLarge(f"The body may have {self.limits.bytes:,} bytes.")

    def _shed(self, reason: str, sentence: str) -> NoReturn:
        self.service.metrics.shed.labels(reason).inc()
        raise Overloaded(f"{sentence} Ask again in a second.")


def _subject(headers: Headers) -> str | None:
    sent = headers.get(b"x-subject-id")
    if sent is not None and not SUBJECT(sent):
        raise InvalidHeader("x-subject-id: 1 to 128 printable ASCII characters.")
    return sent.decode() if sent else None
