"""API keys and their roles. The service knows only their hashes."""

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Mapping

from mlref.core.errors import SettingsError
from mlref.serving.errors import Forbidden, OpenDoor, Unauthorized

VARIABLE = "MLREF_API_KEYS"
ROLES = ("predict", "admin")
"""`predict` may ask for predictions and about the model, send ground truth and see the monitor's page;
`admin` may also read the metrics."""

_ENTRY = re.compile(rf"({'|'.join(ROLES)}):([0-9a-f]{{64}})")

OPEN = re.compile(
    r"/|/page/.*|/health/(live|ready)|/ping|/v2/health/(live|ready)|/docs|/openapi\.json|/swagger/.*"
).fullmatch
"""Paths that need no key: balancers have none, and pages and documentation hold no secret."""


class ApiKeys:
    """The known keys.

    A key is 32 random bytes, so a plain SHA-256 keeps it: there is nothing to guess, unlike a password.

    Parameters
    ----------
    entries : sequence of (role, hash)
        Hashes as bytes; none at all means that nobody is asked for a key.
    """

    def __init__(self, entries: tuple[tuple[str, bytes], ...] = ()) -> None:
        self._entries = entries

    def __bool__(self) -> bool:
        """Whether a key is asked for."""
        return bool(self._entries)

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "ApiKeys":
        """Read ``MLREF_API_KEYS``: ``role:sha256-hex-of-the-key``, with commas between.

        Raises
        ------
        SettingsError
            With the position of each malformed entry, but not its text: it may be a key.
        """
        words = [word.strip() for word in environment.get(VARIABLE, "").split(",") if word.strip()]
        found = [_ENTRY.fullmatch(word) for word in words]
        mistakes = [
            f"entry {place}: not ROLE:HASH, with ROLE one of {', '.join(ROLES)} and HASH 64 digits of"
            " hexadecimal; `mlref keys new ROLE` prints one"
            for place, match in enumerate(found, 1)
            if match is None
        ]
        if mistakes:
            raise SettingsError(VARIABLE, mistakes)
        return cls(tuple((match[1], bytes.fromhex(match[2])) for match in found if match))

    def check(self, authorization: bytes | None, role: str) -> None:
        """Refuse a request whose key may not act in this role; ``admin`` may do all.

        Every entry is compared, in constant time, so that the time of an answer tells nothing of a key.

        Raises
        ------
        Unauthorized
            Without a known key.
        Forbidden
            When the key is of another role.
        """
        scheme, _, key = (authorization or b"").partition(b" ")
        digest = hashlib.sha256(key.strip()).digest()
        roles = {name for name, known in self._entries if hmac.compare_digest(digest, known)}
        if scheme.lower() != b"bearer" or not roles:
            raise Unauthorized("This needs a key: send the header `Authorization: Bearer KEY`.")
        if not roles & {role, "admin"}:
            raise Forbidden(f"This needs a key of the role {role}.")


def new(role: str) -> tuple[str, str]:
    """Make a key: the key itself, which is shown once, and its entry for ``MLREF_API_KEYS``."""
    key = secrets.token_urlsafe(32)
    return key, f"{role}:{hashlib.sha256(key.encode()).hexdigest()}"


def check_door(host: str, keys: ApiKeys, insecure: bool) -> None:
    """Refuse to listen where other machines reach the service and no key is needed.

    Raises
    ------
    OpenDoor
        Unless ``insecure`` says that this is wanted.
    """
    if not (keys or insecure or is_loopback(host)):
        raise OpenDoor(
            f"Other machines reach {host}, and {VARIABLE} is not set, so anybody could ask.\n"
            f"  Make a key with `mlref keys new predict` and set {VARIABLE}, listen on 127.0.0.1, or pass"
            " --insecure where a proxy in front of the service asks for keys."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name other than ``localhost`` is not looked up.

    Examples
    --------
    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
