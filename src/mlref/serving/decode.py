"""JSON bodies, read strictly: bytes to judged rows, or refusals that name every fault and no value.

Python's JSON reader is lenient where a service must not be: it takes NaN, several encodings, and the
last of two equal keys.
"""

import json
from collections.abc import Sequence
from typing import Any, cast

from mlref.core.contract import Contract
from mlref.core.errors import MlrefError, RowsRefused, Violation
from mlref.core.rows import ValidationResult, validate_records

ENVELOPE = "instances"
SHOWN_KEY = 64
"""Keys that a client made up are cut to this length before they are named in an answer."""

REASONS = {
    "NaN or Infinity": "not_finite",
    "a boolean": "type",
    "a list": "type",
    "a number outside": "range",
    "an object": "type",
    "an unknown column": "unknown",
    "an unknown key": "unknown",
    "another text": "category",
    "nothing": "missing",
    "null": "null",
    "text": "type",
}
"""What was sent to the reason that it is counted under."""

_SOURCE = "The request"
_NOT_FINITE = object()
"""Stands for NaN and Infinity: neither a number nor text, so that no column takes it."""


class InvalidJson(MlrefError):
    """The body of a request cannot be read as JSON.

    Remedy: mend the body at the line and column that the sentence names.
    """


def read(contract: Contract, body: bytes, most: int) -> ValidationResult:
    """Decode a request and judge its rows.

    Parameters
    ----------
    contract : Contract
        What each row must keep.
    body : bytes
        ``{"instances": [{column: value, …}, …]}`` as UTF-8 JSON.
    most : int
        Rows that a request may have.

    Returns
    -------
    ValidationResult
        With the encoded rows, and nothing refused.

    Raises
    ------
    InvalidJson
        For a body that is not JSON, or nested too deeply to be read.
    RowsRefused
        With every violation; ``got`` says what kind of thing was sent, never its value.
    """
    document = decode(body)
    violations = _keys(document, (ENVELOPE,))
    if isinstance(document, dict) and ENVELOPE in document:
        violations += _length(document[ENVELOPE], ENVELOPE, most)
    _refuse(violations)
    return judged(contract, document[ENVELOPE])  # type: ignore[index] # else refused above


def decode(body: bytes) -> object:
    """Read JSON; each object has every key once.

    Raises
    ------
    InvalidJson
        For a body that is not JSON, or nested too deeply to be read.
    RowsRefused
        For a key that comes twice.
    """
    try:
        return json.loads(
            body.decode("utf-8"),
            parse_constant=lambda _: _NOT_FINITE,
            parse_int=_whole,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError:
        raise InvalidJson("The body is not JSON: it is not UTF-8 text.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidJson(f"The body is not JSON: it has a mistake at {where}.") from None
    except RecursionError:
        raise InvalidJson("The body is nested too deeply.") from None


def envelope(
    document: object, needed: Sequence[str], also: Sequence[str] = ()
) -> dict[str, object]:
    """The object around the rows, which has the needed keys, perhaps those of ``also``, and no others."""
    _refuse(_keys(document, needed, also))
    return cast(dict[str, object], document)


def listed(value: object, key: str, most: int) -> list[object]:
    """What is under a key: a list that is neither empty nor too long."""
    _refuse(_length(value, key, most))
    return cast(list[object], value)


def judged(contract: Contract, rows: Sequence[object]) -> ValidationResult:
    """Judge rows that were decoded.

    Raises
    ------
    RowsRefused
        With every violation, without the values.
    """
    try:
        verdict = validate_records(contract, rows)
    except RecursionError:  # a value so deep that it cannot even be shown
        raise InvalidJson("The body is nested too deeply.") from None
    if verdict.refused:
        raise RowsRefused(_SOURCE, [_masked(contract, rows, one) for one in verdict.refused])
    return verdict


def refusal(column: str | None, got: str, allowed: str) -> RowsRefused:
    """A refusal of the request as a whole."""
    return RowsRefused(_SOURCE, [Violation(None, column and column[:SHOWN_KEY], got, allowed)])


def kind(value: object) -> str:
    """What kind of JSON value this is; a number that gets here is one that is not allowed."""
    if value is _NOT_FINITE:
        return "NaN or Infinity"
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number outside")


def reason(got: str) -> str:
    """The reason of a refusal, as it is counted: one of few words, whatever a client sends.

    Examples
    --------
    >>> [reason(got) for got in ("a boolean", "a number outside", "another text", "12 values")]
    ['type', 'range', 'category', 'form']
    """
    return REASONS.get(got, "form")


def _refuse(violations: Sequence[Violation]) -> None:
    if violations:
        raise RowsRefused(_SOURCE, violations)


def _keys(document: object, needed: Sequence[str], also: Sequence[str] = ()) -> list[Violation]:
    """What is wrong with an object's keys."""
    if not isinstance(document, dict):
        words = ", ".join(f'"{key}": …' for key in needed)
        return [Violation(None, None, kind(document), f"an object {{{words}}}")]
    known = [*needed, *also]
    only = f"only {', '.join(known)}"
    unknown = [key[:SHOWN_KEY] for key in document if key not in known]
    violations = [Violation(None, key, "an unknown key", only) for key in unknown]
    missing = [key for key in needed if key not in document]
    return violations + [Violation(None, key, "nothing", f"the key {key}") for key in missing]


def _length(value: object, key: str, most: int) -> list[Violation]:
    """What is wrong with a list's length."""
    if isinstance(value, list) and 1 <= len(value) <= most:
        return []
    got = kind(value)
    if isinstance(value, list):
        got = f"{len(value)} of them" if value else "an empty list"
    return [Violation(None, key[:SHOWN_KEY], got, f"a list of 1 to {most}")]


def _whole(digits: str) -> int | float:
    """An integer; an infinity for one so long that Python refuses to convert it."""
    return int(digits) if len(digits) <= 400 else float(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without repeated keys, of which the reader would keep the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise refusal(twice, "the key more than once", "each key once")
    return found


def _masked(contract: Contract, rows: Sequence[Any], violation: Violation) -> Violation:
    """The violation without the value: in an answer ``got`` names only what kind of thing it was."""
    name = violation.column
    record = rows[violation.row or 0]
    if name is None:
        got = kind(record)
    elif name not in contract.names:
        got = "an unknown column"
    elif name not in record:
        got = "nothing"
    else:
        got = kind(record[name])
        if got == "text" and contract.features[contract.names.index(name)].type == "category":
            got = "another text"
    return Violation(violation.row, name and name[:SHOWN_KEY], got, violation.allowed)
