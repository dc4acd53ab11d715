"""Bodies become validated rows, or violations without values."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlref.core.contract import load
from mlref.core.errors import MlrefError
from mlref.serving.errors import InvalidJson, RequestRefused
from mlref.serving.request import Limits, Reader, validated
from tests.fakes import CONTRACT

OWN = load(Path(__file__).parents[3] / "config" / "dataset.yaml")
CONTRACTS = {contract.name: contract for contract in (CONTRACT, OWN)}
PIECES = [*(bytes([one]) for one in b'":,{}[]-0'), b"null", b"NaN", b"1e400", b".5", b"\xff"]


class Explaining(Reader):
    """A reader that takes the slow way for every body."""

    def read(self, body: bytes) -> Any:
        """Explain, even what is right."""
        return self._explain(body)


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_whatever_bytes_come_the_quick_and_the_explaining_way_agree(name: str) -> None:
    contract = CONTRACTS[name]
    quick, slow = Reader(contract, 3), Explaining(contract, 3)
    good = json.dumps({"instances": [contract.example, contract.example]}).encode()

    @settings(max_examples=400)
    @given(
        cut=st.lists(st.tuples(st.integers(0, len(good)), st.integers(0, 3)), max_size=3),
        put=st.sampled_from(PIECES) | st.binary(max_size=2),
    )
    def agree(cut: list[tuple[int, int]], put: bytes) -> None:
        body = good
        for place, length in cut:
            body = body[:place] + put + body[place + length :]
        try:
            wanted = slow.read(body)
        except MlrefError as error:
            with pytest.raises(type(error)) as refusal:
                quick.read(body)
            assert str(refusal.value) == str(error)
        else:
            given = quick.read(body)
            np.testing.assert_array_equal(given.array, wanted.array)
            assert given.unusual == wanted.unusual

    agree()


def test_a_good_body_becomes_an_encoded_array() -> None:
    body = b'{"instances": [{"balcony": null, "heating": "wood", "rooms": 3, "area": 70}]}'
    result = Reader(CONTRACT, 10).read(body)
    assert str(result.array.tolist()) == "[[70.0, 3.0, 2.0, nan]]"
    assert result.refused == result.unusual == []


def test_a_refusal_holds_no_value() -> None:
    body = b'{"instances": [{"balcony": -77.125, "heating": "dung", "rooms": 3, "area": 70}]}'
    with pytest.raises(RequestRefused) as refusal:
        Reader(CONTRACT, 10).read(body)
    assert [violation.column for violation in refusal.value.violations] == ["heating", "balcony"]
    assert not any(value in str(refusal.value) for value in ("77", "dung"))


def test_the_place_of_a_mistake_in_json_is_named_without_what_stands_there() -> None:
    with pytest.raises(InvalidJson, match="line 2, column 3") as refusal:
        Reader(CONTRACT, 10).read(b'{"instances":\n  secret}')
    assert "secret" not in str(refusal.value)


def test_reading_stops_after_a_hundred_violations() -> None:
    class Row(dict[str, Any]):
        """A row that counts how often it is walked through."""

        walks = 0

        def __iter__(self) -> Any:
            Row.walks += 1
            return super().__iter__()

    rows = [Row({name: "x" for name in CONTRACT.names}) for _ in range(1000)]
    with pytest.raises(RequestRefused) as refusal:
        validated(CONTRACT, rows)
    assert (len(refusal.value.violations), refusal.value.left) == (100, 975)
    assert Row.walks <= 25


@pytest.mark.parametrize("count", [0, 4])
def test_too_few_or_too_many_rows_are_refused(count: int) -> None:
    body = json.dumps({"instances": [CONTRACT.example] * count}).encode()
    with pytest.raises(RequestRefused, match="a list of 1 to 3"):
        Reader(CONTRACT, 3).read(body)


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_the_largest_good_request_fits(name: str) -> None:
    contract = CONTRACTS[name]
    row = dict(contract.example)
    for column in contract.features:
        if column.type == "number" and column.valid:
            row[column.name] = column.valid[0] + 1.2345678901234567
    body = json.dumps({"instances": [row] * 100}, indent=4).encode()
    limits = Limits(rows=100)
    assert len(body) <= limits.body(contract)
    assert len(Reader(contract, limits.rows).read(body).array) == 100


def test_the_bound_is_not_far_above_what_is_needed() -> None:
    assert 5e6 < Limits().body(OWN) < 10e6
