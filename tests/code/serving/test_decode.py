"""Bodies become judged rows, or refusals without values."""

import pytest

from mlref.core.errors import RowsRefused
from mlref.serving.decode import InvalidJson, read
from tests.fakes import CONTRACT


def test_a_good_body_becomes_an_encoded_array() -> None:
    """Columns in contract order, a category as its index, null as NaN."""
    body = b'{"instances": [{"balcony": null, "heating": "wood", "rooms": 3, "area": 70}]}'
    verdict = read(CONTRACT, body, 10)
    assert str(verdict.array.tolist()) == "[[70.0, 3.0, 2.0, nan]]"
    assert verdict.refused == verdict.unusual == []


def test_a_refusal_holds_no_value() -> None:
    """Neither in its violations nor in its message."""
    body = b'{"instances": [{"balcony": -77.125, "heating": "dung", "rooms": 3, "area": 70}]}'
    with pytest.raises(RowsRefused) as refusal:
        read(CONTRACT, body, 10)
    assert [violation.column for violation in refusal.value.violations] == ["heating", "balcony"]
    for value in ("77", "dung"):
        assert value not in str(refusal.value)


def test_the_place_of_a_mistake_in_json_is_named() -> None:
    """The line and column, but not what stands there."""
    with pytest.raises(InvalidJson, match="line 2, column 3") as refusal:
        read(CONTRACT, b'{"instances":\n  secret}', 10)
    assert "secret" not in str(refusal.value)
