"""The wall around the service: request ids, the one error body, and one map to HTTP statuses.

Whatever goes wrong behind it, a client gets the same body: a code, a sentence, the request id and
what is allowed where. Never a trace, a path or a value that was sent.
"""

import http
import json
import logging
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlref.errors import Finding, MlrefError, RowsRefused
from mlref.serving.decode import InvalidJson
from mlref.serving.keys import KeyForbidden, KeyMissing, Keys, Role
from mlref.serving.limits import (
    BodyTooLarge,
    BodyTooSlow,
    Busy,
    HeadersTooLarge,
    Limits,
    WrongMediaType,
)

if TYPE_CHECKING:
    from mlref.serving.metrics import Metrics

LISTED = 100
"""How many findings an error body lists; its message counts all of them."""

FAILED = "The service failed on this request. Its log has the reason under the request id."
"""All that a client is told of an error of ours."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LOG = logging.getLogger("mlref.serving")


STATUS: tuple[tuple[type[MlrefError], int, str], ...] = (
    (InvalidJson, 400, "invalid_json"),
    (KeyMissing, 401, "key_missing"),
    (KeyForbidden, 403, "key_forbidden"),
    (BodyTooSlow, 408, "body_too_slow"),
    (BodyTooLarge, 413, "body_too_large"),
    (WrongMediaType, 415, "wrong_media_type"),
    (RowsRefused, 422, "rows_refused"),
    (HeadersTooLarge, 431, "headers_too_large"),
    (Busy, 503, "busy"),
)
"""The refusals that are the client's to mend; every other error is a 500."""

_HEADERS: dict[type[MlrefError], dict[str, str]] = {
    BodyTooSlow: {"connection": "close"},  # the rest of the body would be read as a next request
    BodyTooLarge: {"connection": "close"},
    Busy: {"retry-after": "1"},
    KeyMissing: {"www-authenticate": "Bearer"},
}

SHED = (BodyTooLarge, BodyTooSlow, Busy, HeadersTooLarge)
"""Refusals that protect the service."""

HEALTH = frozenset(
    {"/health/live", "/health/ready", "/ping", "/v2/health/live", "/v2/health/ready"}
)
"""Routes that answer however busy the service is."""

OPEN = HEALTH | {"/", "/docs", "/openapi.json"}
"""Routes that ask for no key, as do Swagger's files: a balancer and a browser have none to send."""

ADMIN = frozenset({"/metrics"})
"""Routes that ask for the key of an admin."""

SECURITY = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
"""Headers of each answer that has none of its own of the same name: nothing is kept, framed or guessed."""


class Call(NamedTuple):
    """What a scoring route needs to know of a request."""

    body: bytes
    request_id: str
    subject: str | None = None
    """Whom the rows are about, as the header ``x-subject-id`` says."""


Header = tuple[bytes, bytes]
Score = Callable[[Call], bytes]
"""A scoring route: the JSON of its answer, or a refusal that is raised."""


def answer(
    content: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Make a JSON response; a NaN in it is an error of ours, not something to send."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A key that was sent may hold half a surrogate pair, which UTF-8 has no bytes for.
    body = text.encode("utf-8", "backslashreplace")
    return Response(body, status, headers, media_type="application/json")


def refuse(error: Exception, request_id: str, path: str = "") -> Response:
    """Make the response to an error, and log it when it is ours.

    Parameters
    ----------
    error : Exception
        A refusal of the family, an HTTP error of the router, or anything unexpected.
    request_id : str
        What the client can quote, and what the log line begins with.
    path : str
        The address: the Open Inference Protocol, below /v2, has an error body of its own.
    """
    response = _refuse(error, request_id)
    if not path.startswith("/v2"):
        return response
    masked = isinstance(error, RowsRefused)  # whose sentence names every finding, and no value
    message = str(error) if masked else json.loads(bytes(response.body))["error"]["message"]
    kept = {name: value for name, value in response.headers.items() if name != "content-length"}
    return answer({"error": message}, response.status_code, kept)


def _refuse(error: Exception, request_id: str) -> Response:
    """Make the response to an error, in our own form."""
    if isinstance(error, HTTPException):
        headers = error.headers or {}
        code = http.HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        message = _about_route(error.status_code, headers.get("Allow", ""))
        return _body(error.status_code, code, message, request_id, headers=headers)
    for kind, status, code in STATUS:
        if isinstance(error, kind):
            findings = error.findings if isinstance(error, RowsRefused) else ()
            message = _about_findings(len(findings)) if findings else str(error)
            _LOG.info(
                "request %s refused", request_id, extra={"request_id": request_id, "code": code}
            )
            return _body(status, code, message, request_id, findings, _HEADERS.get(kind))
    _LOG.error("request %s failed", request_id, exc_info=error, extra={"request_id": request_id})
    return _body(500, "internal_server_error", FAILED, request_id)


async def handle(request: Request, error: Exception) -> Response:
    """Answer an error that was raised behind the router."""
    return refuse(error, request.state.request_id, request.url.path)


class Boundary:
    """ASGI middleware around the application: limits, request ids, and the error body for every failure.

    A scoring route is called from here, in front of the application, as routing alone would double
    what a prediction costs. An id that the client sends as ``x-request-id`` is kept when it is well
    formed (1 to 128 letters, digits, dots, dashes and underscores), so that one id runs through the
    logs of all services.

    Parameters
    ----------
    app : ASGI application
        Answers everything that is not scoring.
    scoring : mapping of str to function
        Scoring routes by path; each takes POST.
    limits : Limits
        What a request may cost.
    keys : Keys
        Who may ask.
    metrics : Metrics
        Where requests are counted.

    Attributes
    ----------
    waiting : function
        Tells how many requests are at work or wait for their turn; the server sets it.
    draining : bool
        Whether the service is about to stop: it answers, but is not ready and keeps no connection.
    """

    def __init__(
        self,
        app: ASGIApp,
        scoring: Mapping[str, Score],
        limits: Limits,
        keys: Keys,
        metrics: "Metrics",
    ) -> None:
        self.app = app
        self.scoring = scoring
        self.limits = limits
        self.keys = keys
        self.metrics = metrics
        self.waiting: Callable[[], int] = lambda: 0
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = _id(headers, b"x-request-id") or uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def finish(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._complete(message["headers"], request_id)
            await send(message)

        try:
            self._admit(scope, headers)
            body = await self.limits.read(receive)
            if scope["path"] in self.scoring:
                if scope["method"] != "POST":
                    raise HTTPException(405, headers={"Allow": "POST"})
                call = Call(body, request_id, _id(headers, b"x-subject-id"))
                content = self.scoring[scope["path"]](call)
                await finish(
                    {"type": "http.response.start", "status": 200, "headers": _json(content)}
                )
                await finish({"type": "http.response.body", "body": content})
            else:
                await self.app(scope, _again(body, receive), finish)
        except ClientDisconnect:
            return  # nobody is left to answer
        except Exception as error:  # whatever it is, the client gets the one error body
            if status:
                raise
            if isinstance(error, SHED):
                self.metrics.shed(_code(error))
            await refuse(error, request_id, scope["path"])(scope, receive, finish)
        finally:
            self.metrics.request(scope["method"], scope["path"], status, perf_counter() - began)

    def _admit(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Refuse what need not be read."""
        path = scope["path"]
        if path not in HEALTH and self.waiting() > self.limits.waiting:
            raise Busy("Too many requests wait; send this one again in a second.")
        self.limits.check(headers, scope)
        if path not in OPEN and not path.startswith("/swagger/"):
            role: Role = "admin" if path in ADMIN else "predict"
            self.keys.check(headers.get(b"authorization", b""), role)

    def _complete(self, headers: Iterable[Header], request_id: str) -> list[Header]:
        """The headers of an answer, with those that each has."""
        own = {name for name, _ in headers}
        always = [*SECURITY, (b"x-request-id", request_id.encode())]
        if self.draining:
            always.append((b"connection", b"close"))
        return [*headers, *(header for header in always if header[0] not in own)]


def _code(error: MlrefError) -> str:
    return next(code for kind, _, code in STATUS if isinstance(error, kind))


def _id(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    """A well-formed id in a header."""
    sent = headers.get(name, b"").decode("latin-1")
    return sent if _ID.fullmatch(sent) else None


def _json(content: bytes) -> list[tuple[bytes, bytes]]:
    length = str(len(content)).encode()
    return [(b"content-type", b"application/json"), (b"content-length", length)]


def _again(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives a body once more that was read already."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


def _about_route(status: int, allow: str) -> str:
    """A sentence for an error of the router."""
    if status == 404:
        return "There is no such address. /docs lists those that there are."
    if status == 405:
        return f"This address does not take this method; allowed: {allow}."
    return f"{http.HTTPStatus(status).phrase}."


def _about_findings(count: int) -> str:
    values = "1 value is refused" if count == 1 else f"{count} values are refused"
    return f"{values}; `details` names where and what is allowed."


def _body(
    status: int,
    code: str,
    message: str,
    request_id: str,
    findings: Sequence[Finding] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    details: list[dict[str, Any]] = [
        {"instance": item.row, "column": item.column, "allowed": item.allowed, "got": item.got}
        for item in findings[:LISTED]
    ]
    error = {"code": code, "message": message, "request_id": request_id, "details": details}
    return answer({"error": error}, status, headers)
