"""Who may ask: API keys, of which the service holds only the digests."""

import hashlib
import hmac
import re
import secrets
from typing import Literal, get_args

from mlref.errors import MlrefError, SettingsError

VARIABLE = "MLREF_API_KEYS"
"""Environment variable with the entries: ``role:sha256-hex-of-the-key``, divided by commas."""

Role = Literal["predict", "admin"]

_ENTRY = re.compile(rf"({'|'.join(get_args(Role))}):([0-9a-f]{{64}})")


class KeyMissing(MlrefError):
    """A request has no key that the service knows.

    Remedy: send the header `authorization: Bearer KEY`; `mlref keys new ROLE` makes a key.
    """


class KeyForbidden(MlrefError):
    """The key of a request has a role to which this address is closed.

    Remedy: ask with a key of the role that the sentence names.
    """


class Keys:
    """The keys that a service takes; where there is none, everybody may ask.

    Parameters
    ----------
    text : str
        What the environment variable holds.

    Raises
    ------
    SettingsError
        For each entry that is none, by its place: what it holds may be a secret.
    """

    def __init__(self, text: str = "") -> None:
        entries = [entry.strip() for entry in text.split(",")] if text.strip() else []
        found = [_ENTRY.fullmatch(entry) for entry in entries]
        if mistakes := [
            f"entry {place}: must be ROLE:DIGEST as `mlref keys new ROLE` prints it; roles: predict, admin"
            for place, match in enumerate(found, 1)
            if match is None
        ]:
            raise SettingsError(VARIABLE, mistakes)
        self._entries = [(match[1], bytes.fromhex(match[2])) for match in found if match]

    def __bool__(self) -> bool:
        return bool(self._entries)

    def check(self, authorization: bytes, role: Role) -> None:
        """Let a request pass, or refuse it.

        An ``admin`` may do what ``predict`` may. The comparison takes as long for a wrong key as for
        a right one, so that its time tells nothing about a key.

        Parameters
        ----------
        authorization : bytes
            The header of that name.
        role : str
            What the address asks for.

        Raises
        ------
        KeyMissing
            When there is no key, or one that is not known.
        KeyForbidden
            When the key is known, but of another role.
        """
        if not self._entries:
            return
        scheme, _, key = authorization.partition(b" ")
        sent = hashlib.sha256(key.strip()).digest()
        held = {name for name, digest in self._entries if hmac.compare_digest(digest, sent)}
        if scheme.lower() != b"bearer" or not held:
            raise KeyMissing("A key is needed: send the header `authorization: Bearer KEY`.")
        if not held & {role, "admin"}:
            raise KeyForbidden(f"This address needs a key of the role {role}.")


def new_key(role: Role) -> tuple[str, str]:
    """Make a key of 256 random bits, and the entry by which a service knows it."""
    key = f"mlref-{secrets.token_urlsafe(32)}"
    return key, f"{role}:{hashlib.sha256(key.encode()).hexdigest()}"


def describe_new(role: str) -> str:
    """A new key in words: what its owner gets, and what the service gets.

    Raises
    ------
    MlrefError
        For a role that there is not.
    """
    if role not in get_args(Role):
        raise MlrefError(f"There is no role {role!r}; allowed: {', '.join(get_args(Role))}.")
    key, entry = new_key(role)  # type: ignore[arg-type]
    return f"key (for the client, shown once): {key}\n{VARIABLE} (for the service): {entry}"
