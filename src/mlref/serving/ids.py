"""Ids of requests and predictions."""

import os
import re
import time

_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch


def new_ids(count: int) -> list[str]:
    """Make ids of predictions: UUIDs of version 7, which sort by the time they were made.

    RFC 9562, section 5.7 and, for many ids of one millisecond, method 2 of its section 6.2: 73 random bits,
    counted up. So a thousand ids need one call to the system, and a database appends them to its index.

    Examples
    --------
    >>> import uuid
    >>> one, two = map(uuid.UUID, new_ids(2))
    >>> one.version, one.variant == uuid.RFC_4122, one < two
    (7, True, True)
    """
    moment = f"{time.time_ns() // 1_000_000:012x}"
    noise = os.urandom(10).hex()
    prefix = f"{moment[:8]}-{moment[8:]}-7{noise[:3]}-{'89ab'[int(noise[3], 16) % 4]}{noise[4:7]}-"
    first = int(noise[8:], 16) >> 1  # 47 bits, so that counting up does not run over 48
    return [f"{prefix}{number:012x}" for number in range(first, first + count)]


def request_id(sent: bytes | None) -> str:
    """The id that a client sent, when it is well formed, else a new one.

    Letters, digits, dots, dashes and underscores, 128 at most: one id then runs through the logs of all
    services, and no free text gets into them.
    """
    if sent is not None and _WELL_FORMED(text := sent.decode("latin-1")):
        return text
    return os.urandom(16).hex()
