"""Ids of requests."""

import os
import re

_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch


def request_id(sent: bytes | None) -> str:
    """The id that a client sent, when it is well formed, else a new one.

    Letters, digits, dots, dashes and underscores, 128 at most: one id then runs through the logs of all
    services, and no free text gets into them.
    """
    if sent is not None and _WELL_FORMED(text := sent.decode("latin-1")):
        return text
    return os.urandom(16).hex()
