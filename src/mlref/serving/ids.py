"""Ids of predictions: UUIDs of version 7, which sort by the time they were made in.

A database then adds new rows at the end of its index. Python itself makes them from 3.14 on.
"""

import os
import time

_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


def new_ids(count: int) -> list[str]:
    """Make some ids; the random digits of all come from one call of the system.

    Their layout is that of RFC 9562, section 5.7: 48 bits of Unix time in milliseconds, the version,
    12 random bits, the variant, 62 random bits.

    Examples
    --------
    >>> one, two = new_ids(2)
    >>> one == two, one[:13] == two[:13], one[14]
    (False, True, '7')
    """
    moment = f"{time.time_ns() // 1_000_000:012x}"
    start = f"{moment[:8]}-{moment[8:]}-7"
    noise = os.urandom(10 * count).hex()
    return [
        f"{start}{noise[at:at + 3]}-{_VARIANT[noise[at + 3]]}{noise[at + 4:at + 7]}-{noise[at + 7:at + 19]}"
        for at in range(0, 20 * count, 20)
    ]
