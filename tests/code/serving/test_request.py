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
from mlref.serving.request import Reader, decode, listed, validated
from tests.fakes import CONTRACT, TYPES

OWN = load(Path(__file__).parents[3] / "config" / "dataset.yaml")
CONTRACTS = {"rents": CONTRACT, "types": TYPES, OWN.name: OWN}
PIECES = [*(bytes([one]) for one in b'":,{}[]-0'), b"null", b"NaN", b"1e400", b".5", b"\xff"]


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_whatever_bytes_come_the_quick_and_the_explaining_way_agree(name: str) -> None:
    contract = CONTRACTS[name]
    quick = Reader(contract, 3)
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
            wanted = validated(contract, listed(decode(body), "instances", 3))
        except MlrefError as error:
            with pytest.raises(type(error)) as refusal:
                quick.read(body)
            assert str(refusal.value) == str(error)
        else:
            given = quick.read(body)
            np.testing.assert_array_equal(given.array, wanted.array)
            np.testing.assert_array_equal(given.unusual, wanted.unusual)

    agree()


def test_a_good_body_becomes_an_encoded_array() -> None:
    body = b'{"instances": [{"balcony": null, "heating": "wood", "rooms": 3, "area": 70}]}'
    result = Reader(CONTRACT, 10).read(body)
    assert str(result.array.tolist()) == "[[70.0, 3.0, 2.0, nan]]"
    assert result.unusual is None


def test_dates_and_booleans_are_json_of_their_own() -> None:
    """A time counts as its day; numbers are no booleans."""
    rows = [TYPES.example, TYPES.example | {"sold": "2020-01-02T23:30:00-02:00", "lift": False}]
    read = Reader(TYPES, 10).read
    assert read(json.dumps({"instances": rows[:1]}).encode()).array[0, 4:].tolist() == [151.0, 1.0]
    assert read(json.dumps({"instances": rows}).encode()).array[1, 4:].tolist() == [2.0, 0.0]
    for column, cell, got in (
        ("sold", "31.5.2020", "another text"),
        ("sold", 18_000, "a number"),
        ("lift", 1, "a number"),
        ("lift", "true", "text"),
        ("lift", None, "null"),
    ):
        with pytest.raises(RequestRefused) as refusal:
            read(json.dumps({"instances": [TYPES.example | {column: cell}]}).encode())
        [found] = refusal.value.violations
        assert (found.column, found.got) == (column, got)


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
