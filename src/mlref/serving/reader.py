"""The quick way from a request's bytes to its rows.

Nearly every request is right. msgspec reads those in C, with types made from the contract, and the whole
array is compared at once. Whatever that way does not take goes to :mod:`mlref.serving.decode`, which
decides and explains; so the quick way can be no more lenient than the judge, only faster.
"""

from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec.structs import astuple

from mlref.core.contract import Column, Contract
from mlref.core.rows import ExpectedRanges, ValidationResult, validate_encoded
from mlref.serving.decode import ENVELOPE, read


class Reader:
    """Reads the requests of one contract.

    Parameters
    ----------
    contract : Contract
        What each row must keep.
    most : int
        Rows that a request may have.
    """

    def __init__(self, contract: Contract, most: int) -> None:
        self._contract, self._most, self._width = contract, most, len(contract.names)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_request(contract, most))
        self._usual = ExpectedRanges(contract.features)
        self._codes = {
            place: {value: float(code) for code, value in enumerate(column.allowed)}
            for place, column in enumerate(contract.features)
            if column.allowed is not None
        }

    def read(self, body: bytes) -> ValidationResult:
        """Decode a request and judge its rows; see :func:`mlref.serving.decode.read`."""
        try:
            rows = self._decoder.decode(body).instances
            # msgspec keeps the last of two equal keys. Each key has its colon: one more than there are
            # columns is a key too many.
            if body.count(b":") != 1 + len(rows) * self._width:
                return self._explained(body)
            array = self._encoded([astuple(row) for row in rows])
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, RecursionError):
            return self._explained(body)
        if self._usual.holds(array):
            return ValidationResult(array)
        verdict = validate_encoded(self._contract.features, array)
        return self._explained(body) if verdict.refused else verdict

    def _encoded(self, rows: list[tuple[Any, ...]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Cells in contract order as one array; a category as its index, null as NaN."""
        if not self._codes:
            return np.array(rows, dtype=np.float64)
        columns = list(zip(*rows, strict=True))
        for place, codes in self._codes.items():
            columns[place] = tuple([None if x is None else codes[x] for x in columns[place]])
        return np.array(columns, dtype=np.float64).T

    def _explained(self, body: bytes) -> ValidationResult:
        return read(self._contract, body, self._most)


def _request(contract: Contract, most: int) -> type[msgspec.Struct]:
    """The type of a request: fields are numbered, as a column's name need not be an identifier."""
    row = msgspec.defstruct(
        "Row",
        [
            (f"c{place}", _cell(column), msgspec.field(name=column.name))
            for place, column in enumerate(contract.features)
        ],
        forbid_unknown_fields=True,
        gc=False,
    )
    # A type that was made just now, which mypy takes for a variable.
    rows = Annotated[list[row], msgspec.Meta(min_length=1, max_length=most)]  # type: ignore[valid-type]
    return msgspec.defstruct("Request", [(ENVELOPE, rows)], forbid_unknown_fields=True)


def _cell(column: Column) -> Any:
    text = column.allowed is not None and isinstance(column.allowed[0], str)
    cell: Any = Literal[column.allowed] if text else float
    return cell | None if column.nullable else cell
