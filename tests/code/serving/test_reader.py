"""The quick way to rows gives what the judge gives, or leaves it to him."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlref.core.contract import load
from mlref.core.errors import MlrefError, RowsRefused
from mlref.serving import reader as module
from mlref.serving.decode import read
from mlref.serving.reader import Reader
from tests.fakes import CONTRACT

OWN = load(Path(__file__).parents[3] / "config" / "dataset.yaml")
CONTRACTS = {contract.name: contract for contract in (CONTRACT, OWN)}
PIECES = [
    b'"',
    b":",
    b",",
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"NaN",
    b"1e400",
    b"-",
    b"0",
    b".5",
    b"\xff",
]


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_whatever_bytes_come_both_ways_give_the_same(name: str) -> None:
    """Bytes of a good request with pieces cut out and put in: same rows, same warnings, same refusal."""
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
            wanted = read(contract, body, 3)
        except MlrefError as error:
            with pytest.raises(type(error)) as refusal:
                quick.read(body)
            assert str(refusal.value) == str(error)
        else:
            given = quick.read(body)
            np.testing.assert_array_equal(given.array, wanted.array)
            assert given.unusual == wanted.unusual

    agree()


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_a_good_request_takes_the_quick_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with null, unusual values and escaped keys: the judge is not asked."""
    contract = CONTRACTS[name]
    monkeypatch.setattr(module, "read", None)
    row = dict(contract.example)
    for column in contract.features:
        if column.expected and column.valid:
            row[column.name] = column.valid[0]
        if column.nullable:
            row[column.name] = None  # type: ignore[assignment]
    body = json.dumps({"instances": [contract.example, row]}).encode()
    verdict = Reader(contract, 3).read(body.replace(b'"a', b'"\\u0061'))
    assert verdict.array.shape == (2, len(contract.names))
    assert verdict.unusual


def test_a_key_that_comes_twice_is_not_overlooked() -> None:
    """msgspec keeps the last of two: this says so when a new version refuses them by itself."""
    twice = json.dumps({"instances": [CONTRACT.example]}).replace("{", '{"area": 9, ', 2)
    twice = twice.replace('{"area": 9, "inst', '{"inst')
    assert msgspec.json.decode(b'{"a": 1, "a": 2}') == {"a": 2}
    with pytest.raises(RowsRefused, match="the key more than once"):
        Reader(CONTRACT, 3).read(twice.encode())


@pytest.mark.parametrize("count", [0, 4])
def test_too_few_or_too_many_rows_are_refused(count: int) -> None:
    """With the number that may come."""
    body = json.dumps({"instances": [CONTRACT.example] * count}).encode()
    with pytest.raises(RowsRefused, match="a list of 1 to 3"):
        Reader(CONTRACT, 3).read(body)
