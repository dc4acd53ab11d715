"""Numbers for people, with the digits that their scale needs."""

import math
from collections.abc import Mapping

from mlref.core.contract import Column


def places(scale: float, significant: int) -> int:
    """Decimal places that show a number as large as ``scale`` with so many significant digits."""
    return max(0, significant - 1 - math.floor(math.log10(scale))) if scale else 0


def digits(target: Column) -> int:
    """Decimal places that show a value of the target with about four significant digits.

    Examples
    --------
    >>> rent = {"name": "r", "title": "R", "meaning": "R", "type": "number", "example": 0.5}
    >>> [digits(Column(**rent, valid=(0, top))) for top in (1, 300, 20_000)]
    [3, 1, 0]
    """
    lo, hi = target.span
    return places(hi - lo, 4)


def show_number(value: float, places: int, sign: str = "") -> str:
    """Write a value, or a difference with ``sign="+"``, with so many decimal places; never "-0".

    Examples
    --------
    >>> show_number(53.8961, 1), show_number(0.25, 2, "+"), show_number(-0.001, 1)
    ('53.9', '+0.25', '0.0')
    """
    return f"{round(value, places) + 0.0:{sign}.{places}f}"


def number(value: float | None) -> str:
    """Write a number with three significant digits, without zeros at its end.

    Examples
    --------
    >>> number(0.51908), number(20.0), number(14532.4), number(None)
    ('0.519', '20', '14532', 'not a number')
    """
    if value is None or not math.isfinite(value):
        return "not a number"
    text = show_number(value, places(abs(value), 3))
    return text.rstrip("0").rstrip(".") if "." in text else text


def interval(found: Mapping[str, float | None], sign: int = 1) -> str:
    """Write ``value``, ``lower`` and ``upper``, three digits of the largest; ``sign`` -1 turns it round.

    Examples
    --------
    >>> interval({"value": 53.86, "lower": 44.5, "upper": 62.22})
    '53.9 [44.5, 62.2]'
    >>> interval({"value": -0.4, "lower": -0.51, "upper": -0.3}, -1)
    '0.400 [0.300, 0.510]'
    """
    known = [end for key in ("value", "lower", "upper") if (end := found[key]) is not None]
    if len(known) < 3 or not all(map(math.isfinite, known)):
        return "not a number"
    digits = places(max(map(abs, known)), 3)
    middle, *ends = (sign * end for end in known)
    value, lower, upper = (show_number(end, digits) for end in (middle, *sorted(ends)))
    return f"{value} [{lower}, {upper}]"
