"""The way back of one request: every answer of the service has the same headers."""

from starlette.types import Message, Send

HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
)
"""Headers of every answer, unless it has its own."""

JSON = (b"content-type", b"application/json")


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

    Attributes
    ----------
    status : int
        HTTP status that was sent; 0 before.
    """

    def __init__(self, send: Send, request_id: str, last: bool) -> None:
        self.request_id, self.status, self._send = request_id, 0, send
        self._headers = [(b"x-request-id", request_id.encode()), *HEADERS]
        if last:
            self._headers.append((b"connection", b"close"))

    async def whole(
        self, status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        """Send a JSON answer."""
        self.status = status
        length = (b"content-length", b"%d" % len(body))
        head = [JSON, length, *self._headers, *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send({"type": "http.response.body", "body": body})

    async def send(self, message: Message) -> None:
        """Pass on what the application sends; a header of its own stays."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = {name for name, _ in message["headers"]}
            more = [header for header in self._headers if header[0] not in own]
            message["headers"] = [*message["headers"], *more]
        await self._send(message)
