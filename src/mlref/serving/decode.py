"""The body of a prediction request: bytes to judged rows, strictly.

Python's JSON reader is lenient where a service must not be: it takes NaN, several encodings, and the
last of two equal keys.
"""

import json
from typing import Any

from mlref.contract import Contract
from mlref.errors import Finding, RowsRefused
from mlref.rows import Verdict, judge_records
from mlref.serving.boundary import InvalidJson

ENVELOPE = "instances"
SHOWN_KEY = 64
"""Keys that a client made up are cut to this length before they are named in an answer."""

_SOURCE = "The request"
_ROWS = "a list of one or more objects"
_NOT_FINITE = object()
"""Stands for NaN and Infinity: neither a number nor text, so that no column takes it."""


def read(contract: Contract, body: bytes) -> Verdict:
    """Decode a request and judge its rows.

    Parameters
    ----------
    contract : Contract
        What each row must keep.
    body : bytes
        ``{"instances": [{column: value, …}, …]}`` as UTF-8 JSON.

    Returns
    -------
    Verdict
        With the encoded rows, and nothing refused.

    Raises
    ------
    InvalidJson
        For a body that is not JSON, or nested too deeply to be read.
    RowsRefused
        With every finding; ``got`` says what kind of thing was sent, never its value.
    """
    try:
        instances = _instances(_decode(body))
        verdict = judge_records(contract, instances)
    except RecursionError:
        raise InvalidJson("The body is nested too deeply.") from None
    if verdict.refused:
        raise RowsRefused(_SOURCE, [_masked(contract, instances, one) for one in verdict.refused])
    return verdict


def _decode(body: bytes) -> object:
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


def _whole(digits: str) -> int | float:
    """An integer; an infinity for one so long that Python refuses to convert it."""
    return int(digits) if len(digits) <= 400 else float(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without repeated keys, of which the reader would keep the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RowsRefused(
            _SOURCE, [Finding(None, twice[:SHOWN_KEY], "the key more than once", "each key once")]
        )
    return found


def _instances(document: object) -> list[object]:
    """The rows inside the envelope, which holds them and nothing else."""
    if not isinstance(document, dict):
        allowed = f'an object {{"{ENVELOPE}": [row, …]}}'
        raise RowsRefused(_SOURCE, [Finding(None, None, _kind(document), allowed)])
    findings = [
        Finding(None, key[:SHOWN_KEY], "an unknown key", f"only the key {ENVELOPE}")
        for key in document
        if key != ENVELOPE
    ]
    rows = document.get(ENVELOPE)
    if ENVELOPE not in document:
        findings.append(Finding(None, ENVELOPE, "nothing", _ROWS))
    elif not isinstance(rows, list):
        findings.append(Finding(None, ENVELOPE, _kind(rows), _ROWS))
    elif not rows:
        findings.append(Finding(None, ENVELOPE, "an empty list", _ROWS))
    if findings:
        raise RowsRefused(_SOURCE, findings)
    return list(rows or ())


def _masked(contract: Contract, instances: list[Any], finding: Finding) -> Finding:
    """The finding without the value: in an answer ``got`` names only what kind of thing it was."""
    name = finding.column
    record = instances[finding.row or 0]
    if name is None:
        got = _kind(record)
    elif name not in contract.names:
        got = "an unknown column"
    elif name not in record:
        got = "nothing"
    else:
        got = _kind(record[name])
        if got == "text" and contract.features[contract.names.index(name)].type == "category":
            got = "another text"
    return Finding(finding.row, name and name[:SHOWN_KEY], got, finding.allowed)


def _kind(value: object) -> str:
    """What kind of JSON value this is; a number that gets here is one that is not allowed."""
    if value is _NOT_FINITE:
        return "NaN or Infinity"
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number outside")
