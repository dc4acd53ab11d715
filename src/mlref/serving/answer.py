"""The way back of one request: every answer of the service has the same headers."""

from collections.abc import Callable

from starlette.types import Message, Send

HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
)
"""Headers of every answer, unless it has its own."""

JSON = (b"content-type", b"application/json")

AtOnce = Callable[[int, bytes, bytes], bool]
"""Sends status, headers and body in one piece; False when the server cannot at this moment."""

_HEAD = b"".join(b"%s: %s\r\n" % header for header in (JSON, *HEADERS))


def head_of(request_id: str, body: bytes) -> bytes:
    """Header lines of a JSON answer, for who writes them to a connection by himself."""
    own = b"%sx-request-id: %s\r\ncontent-length: %d\r\n"
    return own % (_HEAD, request_id.encode(), len(body))


class Answer:
    """The way back of one request: every answer has the headers of the service.

    Parameters
    ----------
    send : Send
        The server's end.
    request_id : str
        Sent along.
    last : bool
        Whether the connection is to end with this answer.
    at_once : callable, optional
        A quicker way than ``send`` for a whole answer to a POST.

    Attributes
    ----------
    status : int
        HTTP status that was sent; 0 before.
    """

    def __init__(
        self, send: Send, request_id: str, last: bool, at_once: AtOnce | None = None
    ) -> None:
        self.request_id, self.status = request_id, 0
        self._send, self._last, self._at_once = send, last, at_once

    async def whole(
        self, status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        """Send a JSON answer."""
        self.status = status
        if self._at_once and not headers and not self._last:
            if self._at_once(status, head_of(self.request_id, body), body):
                return
        length = (b"content-length", b"%d" % len(body))
        head = [JSON, length, *self._headers(), *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send({"type": "http.response.body", "body": body})

    async def send(self, message: Message) -> None:
        """Pass on what the application sends; a header of its own stays."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = {name for name, _ in message["headers"]}
            more = [header for header in self._headers() if header[0] not in own]
            message["headers"] = [*message["headers"], *more]
        await self._send(message)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        last = [(b"connection", b"close")] if self._last else []
        return [(b"x-request-id", self.request_id.encode()), *HEADERS, *last]
