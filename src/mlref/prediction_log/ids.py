"""Ids of predictions: UUIDs of version 7 (RFC 9562), which begin with the time in milliseconds.

So new rows go to the end of the database's index, and a period is a range of ids. Python 3.14 has
``uuid.uuid7``; this one makes many at once.
"""

import datetime
import os
import random
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Not the system's generator: an id must be unique, not secret, and a system call costs more than the rest.
_random = random.Random(os.urandom(32))
os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def new_ids(count: int) -> list[str]:
    """Make unique ids for rows that are predicted now.

    Parameters
    ----------
    count : int
        How many.

    Returns
    -------
    list of str
        In rising order, each of 36 characters in lower case.

    Examples
    --------
    >>> first, second = new_ids(2)
    >>> first < second, len(first), first[14]
    (True, 36, '7')
    """
    now, within = divmod(time.time_ns(), 1_000_000)
    # 12 bits place an id within its millisecond, so that a request sorts below the next one.
    head = now << 80 | 7 << 76 | within * 4096 // 1_000_000 << 64 | 2 << 62
    one = _text(head | _random.getrandbits(62))
    if count == 1:
        return [one]
    first = _random.getrandbits(47)  # the others count on from a random number (RFC 9562, 6.2)
    # 16 digits for each, of which the last 12 are taken: less than half the time of formatting
    tails = np.arange(first, first + count, dtype=">u8").tobytes().hex()
    return [one[:24] + tails[at : at + 12] for at in range(4, 16 * count, 16)]


def lowest(moment: datetime.datetime) -> str:
    """Give the id below which all ids are of an earlier millisecond.

    Parameters
    ----------
    moment : datetime
        With a time zone.

    Examples
    --------
    >>> lowest(datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC))
    '01a20d6d-5a00-7000-8000-000000000000'
    """
    elapsed = (moment - _EPOCH) // datetime.timedelta(milliseconds=1)
    return _text(elapsed << 80 | 7 << 76 | 2 << 62)


def moment(name: str) -> datetime.datetime:
    """Tell when an id was made, in UTC, to the millisecond.

    Examples
    --------
    >>> moment("01a20d6d-5a00-7000-8000-000000000000").isoformat()
    '2026-11-24T12:00:00+00:00'
    """
    return _EPOCH + datetime.timedelta(milliseconds=int(name[:8] + name[9:13], 16))


def seconds(names: Sequence[str]) -> NDArray[np.float64]:
    """Tell when many ids were made, in seconds since 1970.

    Examples
    --------
    >>> seconds(["01a20d6d-5a00-7000-8000-000000000000"])
    array([1.7955216e+09])
    """
    return np.array([int(name[:8] + name[9:13], 16) for name in names], np.float64) / 1000


def to_text(moment: datetime.datetime) -> str:
    """Write a moment as the log holds it: ISO 8601 in UTC, which sorts by time.

    Examples
    --------
    >>> cet = datetime.timezone(datetime.timedelta(hours=1))
    >>> to_text(datetime.datetime(2026, 11, 24, 13, tzinfo=cet))
    '2026-11-24T12:00:00.000000+00:00'
    """
    return moment.astimezone(datetime.UTC).isoformat(timespec="microseconds")


def _text(value: int) -> str:
    digits = "%032x" % value  # half the time of an f-string
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
