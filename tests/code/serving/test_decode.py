"""Bodies become judged rows, or refusals without values."""

import json

import pytest

from mlref.errors import RowsRefused
from mlref.serving.decode import MOST_ROWS, InvalidJson, Reader, read
from tests.fakes import CONTRACT


def test_a_good_body_becomes_an_encoded_array() -> None:
    """Columns in contract order, a category as its index, null as NaN."""
    body = b'{"instances": [{"balcony": null, "heating": "wood", "rooms": 3, "area": 70}]}'
    verdict = read(CONTRACT, body)
    assert str(verdict.array.tolist()) == "[[70.0, 3.0, 2.0, nan]]"
    assert verdict.refused == verdict.unusual == []


def test_a_refusal_holds_no_value() -> None:
    """Neither in its findings nor in its message."""
    body = b'{"instances": [{"balcony": -77.125, "heating": "dung", "rooms": 3, "area": 70}]}'
    with pytest.raises(RowsRefused) as refusal:
        read(CONTRACT, body)
    assert [finding.column for finding in refusal.value.findings] == ["heating", "balcony"]
    for value in ("77", "dung"):
        assert value not in str(refusal.value)


def test_the_place_of_a_mistake_in_json_is_named() -> None:
    """The line and column, but not what stands there."""
    with pytest.raises(InvalidJson, match="line 2, column 3") as refusal:
        read(CONTRACT, b'{"instances":\n  secret}')
    assert "secret" not in str(refusal.value)


READER = Reader(CONTRACT)
ROW = json.dumps(CONTRACT.example)


def test_what_is_right_is_not_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow reader is for what the quick one does not take; both give the same."""
    rows = [{**CONTRACT.example, "area": 345.5}, {**CONTRACT.example, "balcony": None, "rooms": 20}]
    body = json.dumps({"instances": rows}).encode()
    slow = read(CONTRACT, body)
    monkeypatch.setattr("mlref.serving.decode.read", None)
    quick = READER.read(body)
    assert quick.array.tobytes() == slow.array.tobytes()
    assert quick.unusual == slow.unusual and len(quick.unusual) == 2


@pytest.mark.parametrize(
    "row",
    [
        '{"area": 1, ' + ROW[1:],
        ROW[:-1] + ', "area": 70.5}',
        ROW[:-1] + ', "\\u0061rea": 70.5}',
        ROW[:-1] + ', "heating": "gas"}',
    ],
)
def test_a_repeated_key_does_not_slip_through(row: str) -> None:
    """The quick decoder keeps the last of two; its count of quotation marks tells."""
    with pytest.raises(RowsRefused, match="more than once"):
        READER.read(f'{{"instances": [{ROW}, {row}]}}'.encode())


def test_a_key_may_be_written_with_escapes() -> None:
    """It is the same JSON."""
    body = '{"\\u0069nstances": [' + ROW.replace("area", "\\u0061rea") + "]}"
    assert READER.read(body.encode()).array.shape == (1, 4)


def test_ten_thousand_rows_are_the_most() -> None:
    """One more is refused, with the number."""
    rows = ",".join([ROW] * MOST_ROWS)
    assert len(READER.read(f'{{"instances": [{rows}]}}'.encode()).array) == MOST_ROWS
    with pytest.raises(RowsRefused, match="a list of 10,001; allowed: a list of 1 to 10,000"):
        READER.read(f'{{"instances": [{rows},{ROW}]}}'.encode())
