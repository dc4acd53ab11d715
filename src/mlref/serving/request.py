"""Request bodies: bytes to validated rows, or violations that name every fault and no value.

Nearly every body is right, and msgspec reads those in C with types made from the contract. Any other body is
read once more by Python's JSON reader and explained in one pass that stops at a hundred violations.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
from msgspec.structs import astuple

from mlref.core.contract import Column, Contract
from mlref.core.errors import Violation
from mlref.core.rows import Array, Mask, masks
from mlref.serving.errors import LISTED, InvalidJson, RequestRefused
from mlref.serving.schemas import predict_request

REASONS = {
    "NaN or Infinity": "not_finite",
    "a number outside": "range",
    "an unknown column": "unknown",
    "another number": "category",
    "another text": "category",
    "nothing": "missing",
    "null": "null",
}
"""Why a value of a row was refused, as metrics count it; for anything else its ``type`` is wrong."""

Kind = TypeVar("Kind")

_NOT_FINITE = object()
"""Stands for NaN and Infinity, which no column accepts."""


class RequestContext(NamedTuple):
    """Id, subject and start time of a request; ``started`` is of ``time.perf_counter``."""

    id: str
    subject: str | None
    started: float


@dataclass(frozen=True)
class Limits:
    """Bounds of requests; each has an answer of its own.

    Parameters
    ----------
    rows : int
        Rows of a request.
    bytes : int
        Length of a body; 10,000 rows of ten numbers take about two million.
    seconds : float
        Time in which a body must have arrived.
    queue : int
        Requests that may wait for their turn. One process answers one at a time, so this bounds how late
        an answer comes.
    uploads : int
        Requests whose bodies are still arriving; this bounds memory.
    labels : int
        Requests that may be storing labels.
    """

    rows: int = 10_000
    bytes: int = 8_000_000
    seconds: float = 10.0
    queue: int = 100
    uploads: int = 64
    labels: int = 8


class ValidRows(NamedTuple):
    """Rows that the contract accepts.

    Parameters
    ----------
    array : ndarray of float64, shape (n, features)
        Encoded by :mod:`mlref.core.rows`.
    unusual : ndarray of bool, shape (n, features)
        Cells outside of their expected range.
    """

    array: Array
    unusual: Mask


class Reader:
    """Reads ``{"instances": [{column: value, …}, …]}`` by one contract.

    Parameters
    ----------
    contract : Contract
        Names, types and ranges of the columns.
    most : int
        Rows that a request may have.
    """

    def __init__(self, contract: Contract, most: int) -> None:
        self.type = predict_request(contract, most)
        self._contract, self._most = contract, most
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(self.type)
        ends = [column.expected or (-np.inf, np.inf) for column in contract.features]
        self._low, self._high = np.array(ends, dtype=np.float64).T
        codes = {place: _code(column) for place, column in enumerate(contract.features)}
        self._codes = {place: code for place, code in codes.items() if code}

    def read(self, body: bytes) -> ValidRows:
        """Decode and validate a body.

        Raises
        ------
        InvalidJson
            For a body that is not JSON, or nested too deeply.
        RequestRefused
            With up to a hundred violations.
        """
        try:
            rows = self._decoder.decode(body).instances
            array = self._encode([astuple(row) for row in rows])
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, RecursionError):
            return validated(self._contract, listed(decode(body), "instances", self._most))
        return ValidRows(array, (array < self._low) | (array > self._high))  # null is neither

    def _encode(self, rows: list[tuple[Any, ...]]) -> Array:
        """Cells in contract order as one array; a category as its index, a date in days, null as NaN."""
        columns = list(zip(*rows, strict=True))
        for place, code in self._codes.items():
            columns[place] = tuple([None if x is None else code(x) for x in columns[place]])
        return np.array(columns, dtype=np.float64).T


def _code(column: Column) -> Callable[[Any], float | None] | None:
    """What makes a number of a value of the column, where it is none."""
    if column.type == "date":
        return column.days
    if column.allowed is None:
        return None
    return {value: float(code) for code, value in enumerate(column.allowed)}.__getitem__


def decode(body: bytes) -> object:
    """Read JSON, with or without a byte order mark; of equal keys the last one counts.

    Raises
    ------
    InvalidJson
        For a body that is not JSON, or nested too deeply.
    """
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=lambda _: _NOT_FINITE)
    except json.JSONDecodeError as error:
        reason = f"it has a mistake at line {error.lineno}, column {error.colno}"
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    except ValueError:  # of int()
        reason = "a number has thousands of digits"
    except RecursionError:
        reason = "it is nested too deeply"
    raise InvalidJson(f"The body is not JSON that can be read: {reason}.")


def parse(body: bytes, kind: type[Kind]) -> Kind:
    """Read a body of a given type, of which the first fault alone is named."""
    try:
        return msgspec.convert(decode(body), kind)
    except msgspec.ValidationError as error:
        allowed, _, place = str(error).partition(" - at ")
        raise refused(place.strip("`") or None, "another form", allowed[:200]) from None


def listed(document: object, key: str, most: int) -> list[Any]:
    """The list of an object that has one key; it is neither empty nor too long."""
    if not isinstance(document, dict) or [*document] != [key]:
        raise refused(None, kind(document), f'an object with one key: {{"{key}": [...]}}')
    value = document[key]
    if isinstance(value, list) and 1 <= len(value) <= most:
        return value
    got = f"a list of {len(value)}" if isinstance(value, list) else kind(value)
    raise refused(key, got, f"a list of 1 to {most}")


def validated(contract: Contract, records: Sequence[object]) -> ValidRows:
    """Validate decoded rows.

    Raises
    ------
    RequestRefused
        With up to a hundred violations.
    """
    table = {
        name: [record.get(name) if isinstance(record, dict) else None for record in records]
        for name in contract.names
    }
    found = masks(contract.features, table)
    violations = list(islice(_violations(contract, records, found.refused), LISTED))
    if violations:
        stop = (violations[-1].row or 0) if len(violations) == LISTED else len(records) - 1
        raise RequestRefused(violations, len(records) - 1 - stop)
    return ValidRows(np.ascontiguousarray(found.array), found.unusual)


def _violations(
    contract: Contract, records: Sequence[object], forbidden: Mask
) -> Iterator[Violation]:
    """Every fault of the rows, in their order."""
    names = set(contract.names)
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            yield Violation(row, None, kind(record), "an object of column names to values")
            continue
        for place, column in enumerate(contract.features):
            if column.name not in record:
                yield Violation(row, column.name, "nothing", column.accepts)
            elif forbidden[row, place]:
                got = _fault(column, record[column.name])
                yield Violation(row, column.name, got, column.accepts)
        for key in record:
            if key not in names:
                allowed = ", ".join(contract.names)
                yield Violation(row, shown(key), "an unknown column", allowed)


def _fault(column: Column, value: object) -> str:
    """Why a column does not accept a value."""
    got = kind(value)
    own = {"boolean": "a boolean", "date": "text"}.get(column.type, "a number")
    if column.type == "date" or column.allowed is not None:
        same = got == ("text" if column.is_text else own)
        return f"another {got.removeprefix('a ')}" if same else got
    if got != "a number":
        return got
    fraction = column.type == "integer" and isinstance(value, float) and value % 1 > 0
    return "a fraction" if fraction else "a number outside"


def kind(value: object) -> str:
    """What kind of JSON value this is."""
    if value is _NOT_FINITE:
        return "NaN or Infinity"
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def shown(key: str) -> str:
    """A client's key as an answer names it: short, and text that UTF-8 can hold."""
    return key[:64].encode("utf-8", "replace").decode()


def refused(column: str | None, got: str, allowed: str) -> RequestRefused:
    """A refusal of the request as a whole."""
    return RequestRefused([Violation(None, column and shown(column), got, allowed)])
