"""The front of the service: what is decided before a body is read, and the way of every answer.

It is plain ASGI and stands before the FastAPI application. A request for predictions is answered right
here, by its path: going through router, middleware and request objects costs as much as all of the rest.
"""

import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlref.core.errors import RowsRefused
from mlref.serving.answer import JSON, Answer
from mlref.serving.boundary import (
    BodyTooLarge,
    InvalidHeader,
    Overloaded,
    Refusal,
    WrongMediaType,
    refuse,
)
from mlref.serving.ids import request_id
from mlref.serving.keys import OPEN, Keys
from mlref.serving.service import Asked, Service

Handler = Callable[[Service, bytes, Asked], bytes]
"""The body of a request to the body of its answer."""

ADMIN = ("/metrics",)
"""Paths for the role `admin`."""

ALWAYS = re.compile(r"/health/.*|/ping|/v2/health/.*|/metrics").fullmatch
"""Paths that are answered however many requests wait."""

MEDIA = re.compile(
    rb"application/(json|[\w.-]+\+json|x-www-form-urlencoded)\s*(;.*)?", re.IGNORECASE
).fullmatch
"""JSON, or what curl and others say of a body that nobody named the type of."""

SUBJECT = re.compile(r"[ -~]{1,128}")


class Front:
    """The whole service as an ASGI application.

    Parameters
    ----------
    service : Service
        The model in use, with its log and metrics.
    handlers : mapping of str to Handler
        Paths that are answered here, by POST.
    app : ASGIApp
        The FastAPI application, for all others.
    keys : Keys
        Who may ask.
    errors : callable, optional
        The body of an error for a path, where another protocol has its own form; None for ours.

    Attributes
    ----------
    tasks : collection
        The requests that the server has begun; the server puts its own here.
    """

    def __init__(
        self,
        service: Service,
        handlers: Mapping[str, Handler],
        app: ASGIApp,
        keys: Keys,
        errors: Callable[[str, Refusal], bytes | None] = lambda path, refusal: None,
    ) -> None:
        self.service, self.keys, self.app = service, keys, app
        self.limits = service.model.limits
        self._handlers, self._errors = handlers, errors
        self._most = self.limits.body(service.model.contract)
        self.tasks: Collection[object] = ()
        self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        path, headers = scope["path"], dict(scope["headers"])
        # Taken out, as it refers to the scope: a circle would wait for the garbage collector, and for 25 ms.
        at_once = scope.get("state", {}).pop("at_once", None)
        post = scope["method"] == "POST"
        handler = self._handlers.get(path) if post else None
        name = request_id(headers.get(b"x-request-id"))
        answer = Answer(send, name, self.service.draining, at_once if post else None)
        try:
            self._admit(scope, headers)
            asked = Asked(answer.request_id, _subject(headers), started)
            if handler is None and path in self._handlers:
                raise HTTPException(405, headers={"Allow": "POST"})
            if handler is not None:
                body = await self._body(receive)
                await answer.whole(200, handler(self.service, body, asked))
            else:
                scope.setdefault("state", {})["asked"] = asked
                await self.app(scope, self._bounded(receive), answer.send)
        except ClientDisconnect:
            answer.status = 499  # nobody is left to answer
        except Exception as error:  # whatever it is, the client gets the one error body
            if answer.status:
                raise  # it has begun: the server cuts the connection, which the client can see
            await self._refuse(path, error, answer)
        route = path if path in self._handlers else getattr(scope.get("route"), "path", "other")
        seconds = time.perf_counter() - started
        self.service.metrics.answered((scope["method"], route, str(answer.status)), seconds)

    def waiting(self) -> int:
        """How many requests wait for their turn.

        A connection asks when a request comes and leaves the answer in its scope. Asked later, when its turn
        is there, all of a burst would see one another and be refused, where only those at its end should.
        """
        return len(self.tasks) - self._uploads

    def _admit(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Refuse, before the body is read, what will not be answered."""
        path = scope["path"]
        # first, so that nobody without a key takes the place of others
        if self.keys and not OPEN(path):
            role = "admin" if path in ADMIN else "predict"
            self.keys.check(headers.get(b"authorization"), role)
        before = scope.get("state", {}).get("before", 0)
        if before > self.limits.queue and not ALWAYS(path):
            self._shed("queue", f"{before} requests were waiting before this one.")
        if scope["method"] == "POST":
            if self._uploads >= self.limits.uploads:
                self._shed("uploads", f"The bodies of {self._uploads} requests are on their way.")
            media = headers.get(b"content-type")
            if media is not None and media != JSON[1] and not MEDIA(media):
                raise WrongMediaType("The body must be JSON: `content-type: application/json`.")
            if headers.get(b"content-encoding", b"identity").lower() != b"identity":
                raise WrongMediaType("The body must not be compressed.")
            length = headers.get(b"content-length", b"0")
            self._check_length(int(length[:20]) if length.isdigit() else 0)

    def _shed(self, reason: str, sentence: str) -> NoReturn:
        self.service.metrics.shed.labels(reason).inc()
        raise Overloaded(f"{sentence} Ask again in a second.")

    def _check_length(self, length: int) -> None:
        if length > self._most:
            raise BodyTooLarge(f"The body may have {self._most} bytes.")

    async def _body(self, receive: Receive) -> bytes:
        """The whole body; one that comes in parts counts as an upload meanwhile."""
        parts, length, more = [], 0, True
        self._uploads += 1
        try:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                parts.append(message.get("body", b""))
                length += len(parts[-1])
                self._check_length(length)
                more = message.get("more_body", False)
        finally:
            self._uploads -= 1
        return b"".join(parts)

    def _bounded(self, receive: Receive) -> Receive:
        """The same channel, with the whole body as its first message, for the application behind."""
        body: bytes | None = None

        async def bounded() -> Message:
            nonlocal body
            if body is None:
                body = await self._body(receive)
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        return bounded

    async def _refuse(self, path: str, error: Exception, answer: Answer) -> None:
        refusal = refuse(error, answer.request_id)
        if isinstance(error, RowsRefused):
            self.service.refused(error.violations)
        elif refusal.status == 500:
            self.service.metrics.predictions.labels("failed").inc()
        body = self._errors(path, refusal) or refusal.body(answer.request_id)
        await answer.whole(refusal.status, body, refusal.headers)


def _subject(headers: Mapping[bytes, bytes]) -> str | None:
    """Whom the rows are about: any printable text; it is stored and never interpreted."""
    sent = headers.get(b"x-subject-id")
    if sent is None:
        return None
    subject = sent.decode("latin-1")
    if not SUBJECT.fullmatch(subject):
        raise InvalidHeader("x-subject-id: 1 to 128 printable ASCII characters.")
    return subject
