"""What a client sees of an error: one body, and one map to HTTP statuses.

Whatever goes wrong behind it, a client gets the same: a code, a sentence, the request id and what is
allowed where. Never a trace, a path or a value that was sent.
"""

import http
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
import structlog
from starlette.exceptions import HTTPException

from mlref.core.errors import MlrefError, RowsRefused, Violation
from mlref.serving.decode import InvalidJson
from mlref.serving.keys import Forbidden, Unauthorized

LISTED = 100
"""How many violations an error body lists; its message counts all of them."""

FAILED = "The service failed on this request. Its log has the reason under the request id."
"""All that a client is told of an error of ours."""

_LOG = structlog.get_logger("mlref.serving")


class InvalidHeader(MlrefError):
    """A header of the request has a value that cannot be taken.

    Remedy: send the header in the form that the sentence names, or leave it out.
    """


class InvalidRequest(MlrefError):
    """What was sent is not HTTP/1.1.

    Remedy: look at what lies between client and service; a `content-length` that is too small ends so too.
    """


class NoSuchModel(MlrefError):
    """The address names a model or a version that does not answer here.

    Remedy: ask `/v1/model` which does.
    """


class TooSlow(MlrefError):
    """The request had not arrived in full after the time that it is given.

    Remedy: send it faster or in smaller parts; check that `content-length` is the body's length.
    """


class BodyTooLarge(MlrefError):
    """The body is longer than any request of this contract needs to be.

    Remedy: send fewer rows at a time, 10,000 at most.
    """


class WrongMediaType(MlrefError):
    """The body says of itself that it is something else than plain JSON.

    Remedy: send JSON, not compressed, with `content-type: application/json`.
    """


class HeadTooLarge(MlrefError):
    """The first line and the headers are longer than the service reads.

    Remedy: send less; cookies and long tokens do not belong here.
    """


class Overloaded(MlrefError):
    """More requests wait than can be answered in time, or the service is about to stop.

    Remedy: ask again after the seconds that the header `retry-after` names, or run more replicas.
    """


class LogAway(MlrefError):
    """The prediction log cannot be reached, so labels cannot be stored; predictions go on.

    Remedy: send the labels again after the seconds that the header `retry-after` names.
    """


STATUS: tuple[tuple[type[MlrefError], int, str], ...] = (
    (InvalidJson, 400, "invalid_json"),
    (InvalidHeader, 400, "invalid_header"),
    (InvalidRequest, 400, "invalid_request"),
    (Unauthorized, 401, "unauthorized"),
    (Forbidden, 403, "forbidden"),
    (NoSuchModel, 404, "no_such_model"),
    (TooSlow, 408, "too_slow"),
    (BodyTooLarge, 413, "body_too_large"),
    (WrongMediaType, 415, "wrong_media_type"),
    (RowsRefused, 422, "rows_refused"),
    (HeadTooLarge, 431, "head_too_large"),
    (LogAway, 503, "log_away"),
    (Overloaded, 503, "overloaded"),
)
"""The refusals that are the client's to mend; every other error is a 500."""

_EXTRA: dict[int, tuple[tuple[bytes, bytes], ...]] = {
    401: ((b"www-authenticate", b"Bearer"),),
    503: ((b"retry-after", b"1"),),
}


class Refusal(NamedTuple):
    """An error as it goes over HTTP."""

    status: int
    code: str
    message: str
    violations: Sequence[Violation] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def body(self, request_id: str) -> bytes:
        """The one error body, as JSON."""
        details = [
            {"instance": item.row, "column": item.column, "allowed": item.allowed, "got": item.got}
            for item in self.violations[:LISTED]
        ]
        error = {
            "code": self.code,
            "message": self.message,
            "request_id": request_id,
            "details": details,
        }
        return dumps({"error": error})


def refuse(error: Exception, request_id: str) -> Refusal:
    """Turn an error into what a client is told, and log it when it is ours.

    Parameters
    ----------
    error : Exception
        A refusal of the family, an HTTP error of the router, or anything unexpected.
    request_id : str
        What the client can quote, and what the log line carries.
    """
    if isinstance(error, HTTPException):
        code = http.HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        headers = [(k.lower().encode(), v.encode()) for k, v in (error.headers or {}).items()]
        allow = (error.headers or {}).get("Allow", "")
        message = _about_route(error.status_code, allow)
        return Refusal(error.status_code, code, message, headers=tuple(headers))
    for kind, status, code in STATUS:
        if isinstance(error, kind):
            violations = error.violations if isinstance(error, RowsRefused) else ()
            message = _about_findings(len(violations)) if violations else str(error)
            return Refusal(status, code, message, violations, _EXTRA.get(status, ()))
    _LOG.error("request failed", request_id=request_id, exc_info=error)
    return Refusal(500, "internal_server_error", FAILED)


def dumps(content: object) -> bytes:
    """JSON bytes. A key that a client sent may hold half a surrogate pair, which UTF-8 has no bytes for."""
    try:
        return orjson.dumps(content)
    except TypeError:
        return orjson.dumps(_encodable(content))


def _encodable(content: Any) -> Any:
    if isinstance(content, str):
        return content.encode("utf-8", "replace").decode()
    if isinstance(content, dict):
        return {_encodable(key): _encodable(value) for key, value in content.items()}
    return [_encodable(item) for item in content] if isinstance(content, list) else content


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
