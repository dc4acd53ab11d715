"""The wall around the service: request ids, the one error body, and one map to HTTP statuses.

Whatever goes wrong behind it, a client gets the same body: a code, a sentence, the request id and
what is allowed where. Never a trace, a path or a value that was sent.
"""

import http
import json
import logging
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlref.errors import Finding, MlrefError, RowsRefused

LISTED = 100
"""How many findings an error body lists; its message counts all of them."""

FAILED = "The service failed on this request. Its log has the reason under the request id."
"""All that a client is told of an error of ours."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LOG = logging.getLogger("mlref.serving")


class InvalidJson(MlrefError):
    """The body of a request cannot be read as JSON.

    Remedy: mend the body at the line and column that the sentence names.
    """


STATUS: tuple[tuple[type[MlrefError], int, str], ...] = (
    (InvalidJson, 400, "invalid_json"),
    (RowsRefused, 422, "rows_refused"),
)
"""The refusals that are the client's to mend; every other error is a 500."""


def answer(
    content: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Make a JSON response; a NaN in it is an error of ours, not something to send."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A key that was sent may hold half a surrogate pair, which UTF-8 has no bytes for.
    body = text.encode("utf-8", "backslashreplace")
    return Response(body, status, headers, media_type="application/json")


def refuse(error: Exception, request_id: str) -> Response:
    """Make the response to an error, and log it when it is ours.

    Parameters
    ----------
    error : Exception
        A refusal of the family, an HTTP error of the router, or anything unexpected.
    request_id : str
        What the client can quote, and what the log line begins with.
    """
    if isinstance(error, HTTPException):
        headers = error.headers or {}
        code = http.HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        message = _about_route(error.status_code, headers.get("Allow", ""))
        return _body(error.status_code, code, message, request_id, headers=headers)
    for kind, status, code in STATUS:
        if isinstance(error, kind):
            findings = error.findings if isinstance(error, RowsRefused) else ()
            message = _about_findings(len(findings)) if findings else str(error)
            return _body(status, code, message, request_id, findings)
    _LOG.error("request %s failed", request_id, exc_info=error)
    return _body(500, "internal_server_error", FAILED, request_id)


async def handle(request: Request, error: Exception) -> Response:
    """Answer an error that was raised behind the router."""
    return refuse(error, request.state.request_id)


class Boundary:
    """ASGI middleware that gives every request an id and every failure the error body.

    An id that the client sends as ``x-request-id`` is kept when it is well formed (1 to 128 letters,
    digits, dots, dashes and underscores), so that one id runs through the logs of all services.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except ClientDisconnect:
            return  # nobody is left to answer
        except Exception as error:  # whatever it is, the client gets the one error body
            if started:
                raise
            await refuse(error, request_id)(scope, receive, send_with_id)


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
