"""Request bodies: bytes to validated rows, or violations that name every fault and no value.

Nearly every body is right, and msgspec reads those in C with types made from the contract. Any other body is
read once more by Python's JSON reader and explained in one pass that stops at a hundred violations.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import astuple

from mlref.core.contract import Column, Contract
from mlref.core.errors import Violation
from mlref.core.rows import (
    Array,
    ExpectedRanges,
    ValidationResult,
    masks,
    validate_encoded,
    validate_records,
)
from mlref.serving.errors import LISTED, InvalidJson, RequestRefused

REASONS = {
    "NaN or Infinity": "not_finite",
    "a boolean": "type",
    "a fraction": "type",
    "a list": "type",
    "a number": "type",
    "a number outside": "range",
    "an object": "type",
    "an unknown column": "unknown",
    "an unknown key": "unknown",
    "another number": "category",
    "another text": "category",
    "nothing": "missing",
    "null": "null",
    "text": "type",
}
"""What was sent to the reason under which metrics count it; anything else is ``form``."""

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
    seconds: float = 10.0
    queue: int = 100
    uploads: int = 64
    labels: int = 8

    def body(self, contract: Contract) -> int:
        """Bytes of the longest body: a cell has its name, up to 24 digits and 40 bytes around."""
        texts = [len(str(value)) for column in contract.features for value in column.allowed or ()]
        cell = max([24, *texts]) + 40
        names = sum(len(name.encode()) for name in contract.names)
        return 1024 + self.rows * (names + cell * len(contract.names))


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
        self._contract, self._most = contract, most
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_request(contract, most))
        self._expected = ExpectedRanges(contract.features)
        self._codes = {
            place: {value: float(code) for code, value in enumerate(column.allowed)}
            for place, column in enumerate(contract.features)
            if column.allowed is not None
        }

    def read(self, body: bytes) -> ValidationResult:
        """Decode and validate a body.

        Returns
        -------
        ValidationResult
            Encoded rows and what is unusual about them; nothing refused.

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
            return self._explain(body)
        if self._expected.holds(array):
            return ValidationResult(array)
        result = validate_encoded(self._contract.features, array)
        return self._explain(body) if result.refused else result

    def _encode(self, rows: list[tuple[Any, ...]]) -> Array:
        """Cells in contract order as one array; a category as its index, null as NaN."""
        if not self._codes:
            return np.array(rows, dtype=np.float64)
        columns = list(zip(*rows, strict=True))
        for place, codes in self._codes.items():
            columns[place] = tuple([None if x is None else codes[x] for x in columns[place]])
        return np.array(columns, dtype=np.float64).T

    def _explain(self, body: bytes) -> ValidationResult:
        document = fields(decode(body), ("instances",))
        return validated(self._contract, items(document["instances"], "instances", self._most))


def _request(contract: Contract, most: int) -> type[msgspec.Struct]:
    """The type of a body; fields are numbered, since a column's name need not be an identifier."""
    cells = [
        (f"c{place}", _cell(column), msgspec.field(name=column.name))
        for place, column in enumerate(contract.features)
    ]
    row = msgspec.defstruct("Row", cells, forbid_unknown_fields=True, gc=False)
    # mypy takes a type that was made just now for a variable
    rows = Annotated[list[row], msgspec.Meta(min_length=1, max_length=most)]  # type: ignore[valid-type]
    return msgspec.defstruct("Request", [("instances", rows)], forbid_unknown_fields=True)


def _cell(column: Column) -> Any:
    cell: Any = Literal[column.allowed] if is_text(column) else float
    return cell | None if column.nullable else cell


def is_text(column: Column) -> bool:
    """Whether the column's values are text."""
    return column.allowed is not None and isinstance(column.allowed[0], str)


def decode(body: bytes) -> object:
    """Read JSON, with or without a byte order mark; of equal keys the last one counts.

    Raises
    ------
    InvalidJson
        For a body that is not JSON, or nested too deeply.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # Python's reader takes more, and says where a mistake is
    try:
        return json.loads(
            body.decode("utf-8-sig"), parse_constant=lambda _: _NOT_FINITE, parse_int=_whole
        )
    except UnicodeDecodeError:
        raise InvalidJson("The body is not JSON: it is not UTF-8 text.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidJson(f"The body is not JSON: it has a mistake at {where}.") from None
    except RecursionError:
        raise InvalidJson("The body is nested too deeply.") from None


def _whole(digits: str) -> int | float:
    """An integer; infinity for one so long that Python refuses to convert it."""
    return int(digits) if len(digits) <= 400 else float(digits)


def fields(value: object, needed: Sequence[str], also: Sequence[str] = ()) -> dict[str, Any]:
    """Check that a value is an object with the needed keys, perhaps those of ``also``, and no others."""
    if not isinstance(value, dict):
        keys = ", ".join(f'"{key}": …' for key in needed)
        raise refused(None, kind(value), f"an object {{{keys}}}")
    known = [*needed, *also]
    unknown = (key for key in value if key not in known)
    only = f"only {', '.join(known)}"
    missing = [key for key in needed if key not in value]
    violations = [Violation(None, key, "nothing", f"the key {key}") for key in missing]
    violations += [
        Violation(None, shown(key), "an unknown key", only) for key in islice(unknown, LISTED)
    ]
    if violations:
        raise RequestRefused(violations)
    return value


def items(value: object, key: str, most: int) -> list[Any]:
    """Check that the value of a key is a list that is neither empty nor too long."""
    if isinstance(value, list) and 1 <= len(value) <= most:
        return value
    got = kind(value)
    if isinstance(value, list):
        got = f"{len(value)} of them" if value else "an empty list"
    raise refused(key, got, f"a list of 1 to {most}")


def validated(contract: Contract, records: Sequence[object]) -> ValidationResult:
    """Validate decoded rows.

    Raises
    ------
    RequestRefused
        With up to a hundred violations.
    """
    violations = list(islice(_violations(contract, records), LISTED))
    if violations:
        full = len(violations) == LISTED
        raise RequestRefused(
            violations, len(records) - 1 - (violations[-1].row or 0) if full else 0
        )
    return validate_records(contract, records)


def _violations(contract: Contract, records: Sequence[object]) -> Iterator[Violation]:
    """Every fault of the rows, in their order."""
    names = set(contract.names)
    table = {
        name: [record.get(name) if isinstance(record, dict) else None for record in records]
        for name in contract.names
    }
    forbidden = masks(contract.features, table).refused
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
    if column.allowed is not None and got in ("text", "a number"):
        return f"another {got.removeprefix('a ')}" if is_text(column) == (got == "text") else got
    if got != "a number":
        return got
    fraction = (
        column.type == "integer"
        and isinstance(value, float)
        and math.isfinite(value)
        and value % 1 != 0
    )
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
