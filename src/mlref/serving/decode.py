"""The body of a prediction request: bytes to judged rows, strictly.

There are two readers. ``Reader`` decodes with types that are made of the contract; it is quick, and
takes exactly what is right. What it does not take, ``read`` goes through value by value, to name
every fault in words. A property test holds the two verdicts together.
"""

import json
from typing import Annotated, Any

import msgspec
import numpy as np

from mlref.contract import Column, Contract
from mlref.errors import Finding, MlrefError, RowsRefused
from mlref.rows import Bounds, Verdict, judge_records

ENVELOPE = "instances"
SHOWN_KEY = 64
"""Keys that a client made up are cut to this length before they are named in an answer."""

MOST_ROWS = 10_000
"""Rows that one request may hold."""

_SOURCE = "The request"
_ROWS = f"a list of 1 to {MOST_ROWS:,} objects"
_NOT_FINITE = object()
"""Stands for NaN and Infinity: neither a number nor text, so that no column takes it."""


class InvalidJson(MlrefError):
    """The body of a request cannot be read as JSON.

    Remedy: mend the body at the line and column that the sentence names.
    """


class Reader:
    """Reads the requests of one contract.

    Parameters
    ----------
    contract : Contract
        What each row must keep.
    """

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self._bounds = Bounds(contract.features)
        self._codes = [
            (
                place,
                {None: np.nan} | {value: float(code) for code, value in enumerate(column.allowed)},
            )
            for place, column in enumerate(contract.features)
            if column.allowed is not None
        ]
        self._texts = [place for place, column in enumerate(contract.features) if _is_text(column)]
        # The names of the columns may be any text; a class needs names of its own.
        names = {f"column_{place}": name for place, name in enumerate(contract.names)}
        types = [_type(column) for column in contract.features]
        row = msgspec.defstruct(
            "Row", list(zip(names, types, strict=True)), rename=names, forbid_unknown_fields=True, gc=False
        )  # fmt: skip
        rows = msgspec.defstruct("Rows", [(ENVELOPE, list[row])], forbid_unknown_fields=True)  # type: ignore[valid-type]
        self._decoder = msgspec.json.Decoder(rows)

    def read(self, body: bytes) -> Verdict:
        """Decode a request and judge its rows; see :func:`read`."""
        try:
            decoded = getattr(self._decoder.decode(body), ENVELOPE)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return read(self.contract, body)
        rows = [msgspec.structs.astuple(row) for row in decoded]
        if not 0 < len(rows) <= MOST_ROWS or body.count(b'"') != self._quotes(rows):
            return read(self.contract, body)
        if self._codes:
            columns: list[Any] = list(zip(*rows, strict=True))
            for place, codes in self._codes:
                columns[place] = [codes.get(cell) for cell in columns[place]]
                if None in columns[place]:
                    return read(self.contract, body)
            rows = list(zip(*columns, strict=True))
        array = np.array(rows, dtype=np.float64)
        return Verdict(array, [], self._bounds.unusual(array))

    def _quotes(self, rows: list[Any]) -> int:
        """How many quotation marks these rows need; a body with more repeats a key.

        Of two equal keys the decoder keeps the last without a word. Every key is there at least once,
        so the count is right only if each is there once.
        """
        texts = sum(row[place] is not None for place in self._texts for row in rows)
        return 2 * (1 + len(rows) * len(self.contract.features) + texts)


def _is_text(column: Column) -> bool:
    return column.allowed is not None and isinstance(column.allowed[0], str)


def _type(column: Column) -> Any:
    """What the decoder takes for a column: its type and range."""
    kind: Any = str if _is_text(column) else float
    if column.valid is not None:
        lowest, highest = column.valid
        step = 1.0 if column.type == "integer" else None
        kind = Annotated[kind, msgspec.Meta(ge=lowest, le=highest, multiple_of=step)]
    return kind | None if column.nullable else kind


def read(contract: Contract, body: bytes) -> Verdict:
    """Decode a request and judge its rows, value by value.

    Python's JSON reader is lenient where a service must not be: it takes NaN, several encodings, and
    the last of two equal keys. Here each of these is refused.

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
    return judged(contract, _instances(parse(body)))


def judged(contract: Contract, instances: list[object]) -> Verdict:
    """Judge decoded rows; a refusal says what kind of thing was sent, never its value."""
    if not 0 < len(instances) <= MOST_ROWS:
        raise RowsRefused(_SOURCE, [Finding(None, None, f"{len(instances):,} rows", _ROWS)])
    try:
        verdict = judge_records(contract, instances)
    except RecursionError:
        raise InvalidJson("The body is nested too deeply.") from None
    if verdict.refused:
        raise RowsRefused(_SOURCE, [_masked(contract, instances, one) for one in verdict.refused])
    return verdict


def parse(body: bytes) -> object:
    """Read JSON without a guess: no NaN, no key twice, UTF-8 only.

    Raises
    ------
    InvalidJson
        For what is no JSON, or nested too deeply to be read.
    RowsRefused
        For a key that is there twice.
    """
    try:
        return json.loads(
            body.decode("utf-8"),
            parse_constant=lambda _: _NOT_FINITE,
            parse_int=_whole,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise InvalidJson("The body is nested too deeply.") from None
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
    elif len(rows) > MOST_ROWS:
        findings.append(Finding(None, ENVELOPE, f"a list of {len(rows):,}", _ROWS))
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
