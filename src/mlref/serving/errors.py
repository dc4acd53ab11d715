"""Errors over HTTP: one table of statuses and one body.

A client gets a code, a sentence, the request id and what is allowed where; never a trace, a path or a
value that was sent.
"""

from collections.abc import Callable, Mapping, Sequence

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
    """The body is longer than the service takes.

    Remedy: send fewer rows at a time.
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
    (Overloaded, 503, "overloaded"),
    (LogAway, 503, "log_away"),
)
"""Errors that a client can correct; every other one is a 500."""

HEADERS = {
    401: {"www-authenticate": "Bearer"},
    408: {"connection": "close"},
    503: {"retry-after": "1"},
}

Form = Callable[["ErrorContent"], msgspec.Struct]
"""Makes the body of one protocol."""


class Detail(msgspec.Struct):
    """One fault: the position of its row from 0, its column, what is allowed, what kind of value came."""

    instance: int | None
    column: str | None
    allowed: str
    got: str


class ErrorContent(msgspec.Struct):
    """What went wrong; `details` lists up to a hundred faults."""

    code: str
    message: str
    request_id: str
    details: list[Detail]


class Error(msgspec.Struct):
    """The body of every error."""

    error: ErrorContent


def respond(error: Exception, path: str, request_id: str, forms: Mapping[str, Form]) -> Response:
    """Answer an error; those of ours are logged under the request id.

    Parameters
    ----------
    error : Exception
        A refusal, an HTTP error of the router, or anything unexpected.
    path : str
        Path of the request.
    request_id : str
        The id that the client can quote.
    forms : mapping of str to Form
        Protocols with an error body of their own, by the prefix of their paths.
    """
    found = ((status, code) for kind, status, code in STATUS if isinstance(error, kind))
    status, code = next(found, (500, "internal_server_error"))
    message, details = str(error), list[Detail]()
    headers: Mapping[str, str] | None = HEADERS.get(status)
    if isinstance(error, HTTPException):  # no such address, or another method
        status, headers = error.status_code, error.headers
        code = error.detail.lower().replace(" ", "_")
        message = f"{error.detail}; /docs lists all addresses and their methods."
    elif isinstance(error, RowsRefused):
        message, listed = _about_rows(error), error.violations[:LISTED]
        details = [Detail(one.row, one.column, one.allowed, one.got) for one in listed]
    elif status == 500:
        message = FAILED
        _LOG.error("request failed", request_id=request_id, exc_info=error)
    form = next((form for prefix, form in forms.items() if path.startswith(prefix)), Error)
    body = form(ErrorContent(code, message, request_id, details))
    return Response(msgspec.json.encode(body), status, headers, "application/json")


def _about_rows(error: RowsRefused) -> str:
    count = len(error.violations)
    values = "1 value is refused" if count == 1 else f"{count} values are refused"
    message = f"{values}; `details` names where and what is allowed."
    if isinstance(error, RequestRefused) and error.left:
        message += f" Reading stopped there; {error.left} more rows were not looked at."
    return message
