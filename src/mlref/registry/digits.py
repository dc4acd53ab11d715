"""Numbers for people, with the digits that their scale needs."""

import math
from collections.abc import Mapping


def number(value: float | None, scale: float | None = None) -> str:
    """Write a number so that its scale, by default the number itself, keeps three digits.

    Examples
    --------
    >>> number(0.51908), number(20.0), number(14532.4), number(0.0004, scale=53.9), number(None)
    ('0.519', '20', '14532', '0.0', 'not a number')
    """
    if value is None or not math.isfinite(value):
        return "not a number"
    size = abs(value if scale is None else scale)
    places = 2 - math.floor(math.log10(size)) if size else 0
    text = f"{round(value, max(places, 0)) + 0.0:.{max(places, 0)}f}"
    return text.rstrip("0").rstrip(".") if scale is None and "." in text else text


def interval(found: Mapping[str, float | None], sign: int = 1) -> str:
    """Write ``value``, ``lower`` and ``upper``, all with the same digits; ``sign`` -1 turns it round.

    Examples
    --------
    >>> interval({"value": 53.86, "lower": 44.5, "upper": 62.22})
    '53.9 [44.5, 62.2]'
    >>> interval({"value": -0.4, "lower": -0.51, "upper": -0.3}, -1)
    '0.400 [0.300, 0.510]'
    """
    ends = [found[end] for end in ("value", "lower", "upper")]
    known = [sign * end for end in ends if end is not None]
    if len(known) < 3:
        return "not a number"
    scale = max(map(abs, known))
    value, lower, upper = (number(end, scale) for end in (known[0], *sorted(known[1:])))
    return f"{value} [{lower}, {upper}]"
