"""The bounds of a request leave room for every good one."""

import json
from pathlib import Path

import pytest

from mlref.core.contract import load
from mlref.serving.limits import Limits
from mlref.serving.reader import Reader
from tests.fakes import CONTRACT

OWN = load(Path(__file__).parents[3] / "config" / "dataset.yaml")
CONTRACTS = {contract.name: contract for contract in (CONTRACT, OWN)}


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_the_largest_good_request_fits(name: str) -> None:
    """As many rows as allowed, with the longest numbers, however generously it is laid out."""
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
    """Ten thousand rows of ten columns: some megabytes, not hundreds."""
    assert 5e6 < Limits().body(OWN) < 10e6
