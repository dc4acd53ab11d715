"""What a request may cost before it is refused: bytes of headers and body, time, and its turn."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from mlref.errors import MlrefError


class HeadersTooLarge(MlrefError):
    """The headers of a request are larger than the service takes.

    Remedy: send fewer or shorter headers; often it is a cookie.
    """


class BodyTooLarge(MlrefError):
    """The body of a request is larger than the service takes.

    Remedy: send fewer rows at once.
    """


class BodyTooSlow(MlrefError):
    """The body of a request did not arrive in time, or not all that its content-length announced.

    Remedy: look at the connection, and at the length that the client announces.
    """


class WrongMediaType(MlrefError):
    """The body of a request is declared as something else than JSON, or is compressed.

    Remedy: send JSON with the header `content-type: application/json`, uncompressed.
    """


class Busy(MlrefError):
    """More requests wait than the service takes on.

    Remedy: send it again after the seconds that the header `retry-after` names, or start more
    replicas.
    """


@dataclass(frozen=True)
class Limits:
    """The limits of a service.

    Parameters
    ----------
    header_bytes, body_bytes : int
        Largest size of all headers and of a body. Ten thousand rows of ten columns are about 2 MB.
    body_seconds : float
        Time that a client has to send its body.
    waiting : int
        Requests that may be at work or wait for their turn. A request of one row takes about a tenth
        of a millisecond, so that this many answer within the time in which a client blinks.
    """

    header_bytes: int = 16_384
    body_bytes: int = 8 * 2**20
    body_seconds: float = 10.0
    waiting: int = 256

    def check(self, headers: Mapping[bytes, bytes], scope: Scope) -> None:
        """Refuse what the headers alone give away.

        Raises
        ------
        HeadersTooLarge, BodyTooLarge, WrongMediaType
            By the name of what is wrong.
        """
        if sum(len(name) + len(value) for name, value in scope["headers"]) > self.header_bytes:
            raise HeadersTooLarge(f"The headers are larger than {self.header_bytes:,} bytes.")
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced[:20]) > self.body_bytes:
            raise BodyTooLarge(self._too_large)
        if b"content-encoding" in headers:
            raise WrongMediaType(
                "A compressed body is not taken; send it without content-encoding."
            )
        media = headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
        if media != b"application/json" and scope["method"] == "POST":
            raise WrongMediaType("The body must be JSON: send content-type: application/json.")

    async def read(self, receive: Receive) -> bytes:
        """Read the body of a request.

        Raises
        ------
        BodyTooLarge
            As soon as more has come than is allowed.
        BodyTooSlow
            When the time is over.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(self.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    body += message.get("body", b"")
                    if len(body) > self.body_bytes:
                        raise BodyTooLarge(self._too_large)
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise BodyTooSlow(
                f"The body did not arrive within {self.body_seconds:g} seconds."
            ) from None

    @property
    def _too_large(self) -> str:
        return f"The body is larger than {self.body_bytes:,} bytes; send fewer rows at once."
