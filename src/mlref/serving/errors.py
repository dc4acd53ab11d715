"""Errors over HTTP: one table of statuses and one body.

A client gets a code, a sentence, the request id and what is allowed where; never a trace, a path or a
value that was sent.
"""

import http
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import structlog
from fastapi import Response
from starlette.exceptions import HTTPException

from mlref.core.errors import MlrefError, RowsRefused, Violation

LISTED = 100
"""Violations that an error body lists; reading a refused body stops there."""

FAILED = "The service failed on this request. Its log has the reason under the request id."

_LOG = structlog.get_logger("mlref.serving")


class InvalidJson(MlrefError):
    """The body of a request cannot be read as JSON.

    Remedy: correct the body at the line and column that the sentence names.
    """


class InvalidHeader(MlrefError):
    """A header of the request has a value that is not allowed.

    Remedy: send the header in the form that the sentence names, or leave it out.
    """


class OpenDoor(MlrefError):
    """The service would be open to other machines without asking for a key.

    Remedy: set MLREF_API_KEYS, listen on 127.0.0.1, or pass `--insecure` where a proxy in front of the
    service asks for keys.
    """


class Unauthorized(MlrefError):
    """The request carries no key that the service knows.

    Remedy: send `Authorization: Bearer KEY`; the service's operator makes keys with `mlref keys new`.
    """


class Forbidden(MlrefError):
    """The key is known, but its role may not do this.

    Remedy: use a key of the role that the sentence names.
    """


class NoSuchModel(MlrefError):
    """The address names a model or a version that is not served here.

    Remedy: `/v1/model` names the one that is.
    """


class TooSlow(MlrefError):
    """The body had not arrived in time.

    Remedy: send it faster or in smaller parts; check that `content-length` is the body's length.
    """


class BodyTooLarge(MlrefError):
    """The body is longer than any request of this contract needs to be.

    Remedy: send fewer rows at a time, 10,000 at most.
    """


class WrongMediaType(MlrefError):
    """The headers announce something other than plain JSON.

    Remedy: send JSON, not compressed, with `content-type: application/json`.
    """


class RequestRefused(RowsRefused):
    """Rows or keys of a request break the contract.

    Remedy: correct the values that `details` lists; reading stops after a hundred of them.

    Parameters
    ----------
    violations : sequence of Violation
        At least one; ``got`` names the kind of value, never the value.
    left : int
        Rows that were not looked at.
    """

    def __init__(self, violations: Sequence[Violation], left: int = 0) -> None:
        super().__init__("The request", violations)
        self.left = left


class Overloaded(MlrefError):
    """More requests wait than can be answered in time.

    Remedy: send the request again after the seconds in the header `retry-after`, or run more replicas.
    """


class LogAway(MlrefError):
    """Labels cannot be stored now: the prediction log is out of reach or the service is stopping.

    Remedy: send the labels again after the seconds in the header `retry-after`.
    """


STATUS: tuple[tuple[type[MlrefError], int, str], ...] = (
    (InvalidJson, 400, "invalid_json"),
    (InvalidHeader, 400, "invalid_header"),
    (Unauthorized, 401, "unauthorized"),
    (Forbidden, 403, "forbidden"),
    (NoSuchModel, 404, "no_such_model"),
    (TooSlow, 408, "too_slow"),
    (BodyTooLarge, 413, "body_too_large"),
    (WrongMediaType, 415, "wrong_media_type"),
    (RowsRefused, 422, "rows_refused"),
    (LogAway, 503, "log_away"),
    (Overloaded, 503, "overloaded"),
)
"""Errors that a client can correct; every other one is a 500."""

_HEADERS = {
    401: {"www-authenticate": "Bearer"},
    408: {"connection": "close"},
    503: {"retry-after": "1"},
}


class Refusal(NamedTuple):
    """An error as a client sees it."""

    status: int
    code: str
    message: str
    request_id: str
    violations: Sequence[Violation] = ()
    headers: dict[str, str] | None = None


Form = Callable[[Refusal], object]
"""Turns a refusal into the body of one protocol."""


def error_body(refusal: Refusal) -> object:
    """Build the usual error body."""
    details = [
        {"instance": one.row, "column": one.column, "allowed": one.allowed, "got": one.got}
        for one in refusal.violations[:LISTED]
    ]
    error = {"code": refusal.code, "message": refusal.message, "request_id": refusal.request_id}
    return {"error": {**error, "details": details}}


def respond(error: Exception, path: str, request_id: str, forms: dict[str, Form]) -> Response:
    """Answer an error; those of ours are logged under the request id.

    Parameters
    ----------
    error : Exception
        A refusal, an HTTP error of the router, or anything unexpected.
    path : str
        Path of the request.
    request_id : str
        The id that the client can quote.
    forms : dict of str to Form
        Protocols with an error body of their own, by the prefix of their paths.
    """
    refusal = _refusal(error, request_id)
    form = next((form for prefix, form in forms.items() if path.startswith(prefix)), error_body)
    body = msgspec.json.encode(form(refusal))
    return Response(body, refusal.status, refusal.headers, "application/json")


def _refusal(error: Exception, request_id: str) -> Refusal:
    if isinstance(error, HTTPException):
        code = http.HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        headers = dict(error.headers or {})
        message = _about_route(error.status_code, headers.get("Allow", ""))
        return Refusal(error.status_code, code, message, request_id, headers=headers)
    for kind, status, code in STATUS:
        if isinstance(error, kind):
            violations = error.violations if isinstance(error, RowsRefused) else ()
            message = _about_rows(error) if isinstance(error, RowsRefused) else str(error)
            return Refusal(status, code, message, request_id, violations, _HEADERS.get(status))
    _LOG.error("request failed", request_id=request_id, exc_info=error)
    return Refusal(500, "internal_server_error", FAILED, request_id)


def _about_route(status: int, allow: str) -> str:
    if status == 404:
        return "There is no such address; /docs lists all of them."
    if status == 405:
        return f"This address does not take this method; allowed: {allow}."
    return f"{http.HTTPStatus(status).phrase}."


def _about_rows(error: RowsRefused) -> str:
    count = len(error.violations)
    values = "1 value is refused" if count == 1 else f"{count} values are refused"
    left = error.left if isinstance(error, RequestRefused) else 0
    rest = f" Reading stopped there; {left} more rows were not looked at." if left else ""
    return f"{values}; `details` names where and what is allowed.{rest}"
