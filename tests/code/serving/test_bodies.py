"""A body is read quickly, explained slowly and documented by a schema; all three give one verdict."""

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mlref.core.contract import Column, Contract, load
from mlref.core.errors import MlrefError
from mlref.serving.app import create_app
from mlref.serving.errors import InvalidJson, RequestRefused
from mlref.serving.model import Service
from mlref.serving.request import Reader, decode, listed, validated
from mlref.serving.schemas import components, feedback_request, predict_request
from tests.fakes import CONTRACT, TYPES

OWN = load(Path(__file__).parents[3] / "config" / "dataset.yaml")
CONTRACTS = {"types": TYPES, OWN.name: OWN}
MOST = 3
"""Rows that a request may have."""


def accepts(reader: Reader, contract: Contract, body: bytes) -> bool:
    """Whether a body is accepted; fails where the quick and the explaining way differ."""
    try:
        wanted = validated(contract, listed(decode(body), "instances", MOST))
    except MlrefError as error:
        with pytest.raises(type(error)) as refusal:
            reader.read(body)
        assert str(refusal.value) == str(error)
        return False
    found = reader.read(body)
    np.testing.assert_array_equal(found.array, wanted.array)
    np.testing.assert_array_equal(found.unusual, wanted.unusual)
    return True


PIECES = [*(bytes([one]) for one in b'":,{}[]-0'), b"null", b"NaN", b"1e400", b".5", b"\xff"]


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_whatever_bytes_come_both_ways_to_read_them_agree(name: str) -> None:
    contract = CONTRACTS[name]
    reader = Reader(contract, MOST)
    good = json.dumps({"instances": [contract.example, contract.example]}).encode()

    @settings(max_examples=50)
    @given(
        cut=st.lists(st.tuples(st.integers(0, len(good)), st.integers(0, 3)), max_size=3),
        put=st.sampled_from(PIECES) | st.binary(max_size=2),
    )
    def agree(cut: list[tuple[int, int]], put: bytes) -> None:
        body = good
        for place, length in cut:
            body = body[:place] + put + body[place + length :]
        accepts(reader, contract, body)

    agree()


ANYTHING = st.one_of(
    *(st.none(), st.booleans(), st.integers(-3, 200), st.integers()),
    *(st.floats(-50, 1000), st.floats(allow_nan=False, allow_infinity=False)),
    st.sampled_from(["", "1", "1.0", "gas", "oil", "coal", "NaN", [], [1], {}, {"area": 1}]),
)
NOTHING = object()
"""Stands for a key that is left out."""


def cell(column: Column) -> st.SearchStrategy[Any]:
    """Values that the column accepts, with its edges."""
    if column.allowed is not None:
        good: st.SearchStrategy[Any] = st.sampled_from(column.allowed)
    elif column.type == "boolean":
        good = st.booleans()
    elif column.type == "date":
        good = st.dates().map(datetime.date.isoformat)
    else:
        lo, hi = column.valid or (-1e6, 1e6)
        good = st.integers(int(lo + 0.999), int(hi)) | st.sampled_from([float(int(lo) + 1), hi, lo])
        if column.type == "number":
            good |= st.floats(lo, hi)
    return good | st.none() if column.nullable else good


@st.composite
def bodies(draw: st.DrawFn, contract: Contract) -> Any:
    """Requests: valid ones, and ones with up to three changes of an object, of a row or of all."""
    row = st.fixed_dictionaries({column.name: cell(column) for column in contract.features})
    rows: list[Any] = draw(st.lists(row, min_size=1, max_size=MOST))
    body: dict[str, Any] = {"instances": rows}
    for _ in range(draw(st.integers(0, 3))):
        holder = draw(st.sampled_from([body, *(one for one in rows if isinstance(one, dict))]))
        key = draw(st.sampled_from([*holder, "made up"]))
        holder[key] = draw(ANYTHING | st.just(NOTHING))
        if holder[key] is NOTHING:
            del holder[key]
    if not draw(st.integers(0, 5)):
        rows[0] = draw(ANYTHING)
    return body if draw(st.integers(0, 9)) else draw(ANYTHING)


def schemas(contract: Contract) -> Any:
    """The documented schemas of requests."""
    return components(predict_request(contract, MOST), feedback_request(contract, MOST))


def validator(contract: Contract) -> Draft202012Validator:
    """The documented schema of a request."""
    parts = {"schemas": schemas(contract)}
    return Draft202012Validator(
        {"$ref": "#/components/schemas/PredictRequest", "components": parts}
    )


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_the_documented_schema_and_the_service_give_one_verdict(name: str) -> None:
    contract = CONTRACTS[name]
    check, reader = validator(contract), Reader(contract, MOST)

    @settings(max_examples=50)
    @given(body=bodies(contract))
    def agree(body: Any) -> None:
        assert check.is_valid(body) == accepts(reader, contract, json.dumps(body).encode())

    agree()
    for schema in schemas(contract).values():
        Draft202012Validator.check_schema(schema)
    check.validate({"instances": [contract.example]})


def test_columns_are_documented_as_the_contract_declares_them() -> None:
    row = schemas(CONTRACT)["Row"]["properties"]
    assert row["area"] == {
        "title": "Area",
        "description": "Living area. Unit: m². Usually from 20 to 300.",
        "examples": [70.5],
        "minimum": 5,
        "maximum": 1000,
        "type": "number",
    }
    assert row["rooms"]["multipleOf"] == 1
    assert row["heating"]["enum"] == ["gas", "oil", "wood"]
    assert [one["type"] for one in row["balcony"]["anyOf"]] == ["number", "null"]


def test_the_served_document_covers_every_route_and_its_examples_can_be_sent(
    service: Service,
) -> None:
    client = TestClient(create_app(service, store=lambda labels: {}))
    document = client.get("/openapi.json").json()
    assert document["info"]["title"] == CONTRACT.title
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            address = path.format(name="rents", version="7")
            media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            assert client.request(method, address, json=media.get("example")).status_code == 200
            if method == "post":
                assert client.post(address, json={}).status_code == 422
                assert {"200", "400", "422", "503"} <= set(operation["responses"])


def test_the_place_of_a_mistake_in_json_is_named_without_what_stands_there() -> None:
    with pytest.raises(InvalidJson, match="line 2, column 3") as refusal:
        Reader(CONTRACT, MOST).read(b'{"instances":\n  secret}')
    assert "secret" not in str(refusal.value)


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
