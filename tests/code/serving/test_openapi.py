"""The documented schema says what the service does."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mlref.core.contract import Column, Contract, load
from mlref.core.errors import RowsRefused
from mlref.serving.app import create_app
from mlref.serving.model import Service
from mlref.serving.request import Reader
from mlref.serving.schemas import components, feedback_request, predict_request
from tests.fakes import CONTRACT

OWN = load(Path(__file__).parents[3] / "config" / "dataset.yaml")
CONTRACTS = {contract.name: contract for contract in (CONTRACT, OWN)}

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 200)
    | st.integers()
    | st.floats(-50, 1000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "1", "1.0", "gas", "oil", "coal", "NaN"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)  # fmt: skip


def cell(column: Column) -> st.SearchStrategy[Any]:
    """Values that the column accepts, with its edges."""
    if column.allowed is not None:
        good: st.SearchStrategy[Any] = st.sampled_from(column.allowed)
    else:
        assert column.valid is not None
        lo, hi = column.valid
        good = st.integers(int(lo + 0.999), int(hi)) | st.sampled_from([float(int(lo) + 1), hi, lo])
        if column.type == "number":
            good |= st.floats(lo, hi)
    return good | st.none() if column.nullable else good


@st.composite
def bodies(draw: st.DrawFn, contract: Contract) -> Any:
    """Requests: valid ones, and ones with one to three mutations at any level."""
    row = st.fixed_dictionaries({column.name: cell(column) for column in contract.features})
    body: Any = {"instances": draw(st.lists(row, min_size=1, max_size=3))}
    for _ in range(draw(st.integers(0, 3))):
        change = draw(
            st.sampled_from(["cell", "cell", "drop", "add", "row", "top", "body", "empty"])
        )
        rows = body.get("instances") if isinstance(body, dict) else None
        place = draw(st.integers(0, len(rows) - 1)) if isinstance(rows, list) and rows else None
        target = rows[place] if place is not None else None
        if change in ("cell", "drop", "add") and isinstance(target, dict):
            name = draw(st.sampled_from(contract.names))
            if change == "cell":
                target[name] = draw(ANYTHING)
            elif change == "drop":
                target.pop(name, None)
            else:
                target[draw(st.text(max_size=5))] = draw(ANYTHING)
        elif change == "row" and place is not None:
            rows[place] = draw(ANYTHING)
        elif change == "top" and isinstance(body, dict):
            body[draw(st.sampled_from(["instances", "instance", "rows"]))] = draw(ANYTHING)
        elif change == "empty" and isinstance(body, dict):
            body["instances"] = []
        elif change == "body":
            body = draw(ANYTHING)
    return body


def schemas(contract: Contract) -> Any:
    """The documented schemas of requests."""
    return components(predict_request(contract, 10_000), feedback_request(contract, 10_000))


def validator(contract: Contract) -> Draft202012Validator:
    """The documented schema of a request."""
    parts = {"schemas": schemas(contract)}
    return Draft202012Validator(
        {"$ref": "#/components/schemas/PredictRequest", "components": parts}
    )


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_schema_and_service_give_the_same_verdict(name: str) -> None:
    contract = CONTRACTS[name]
    check = validator(contract)
    reader = Reader(contract, 10_000)

    @settings(max_examples=300, deadline=None)
    @given(body=bodies(contract))
    def agree(body: Any) -> None:
        try:
            reader.read(json.dumps(body).encode())
            accepted = True
        except RowsRefused:
            accepted = False
        assert check.is_valid(body) == accepted

    agree()


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_the_schema_is_valid_and_accepts_the_example(name: str) -> None:
    contract = CONTRACTS[name]
    for schema in schemas(contract).values():
        Draft202012Validator.check_schema(schema)
    validator(contract).validate({"instances": [contract.example]})


def test_columns_are_described_as_the_contract_declares_them() -> None:
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


def test_documented_examples_can_be_sent(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/v1/predict", "/invocations", "/v2/models/{name}/infer"):
        body = paths[path]["post"]["requestBody"]["content"]["application/json"]
        assert client.post(path.format(name="rents"), json=body["example"]).status_code == 200


def test_the_served_document_covers_every_route(service: Service) -> None:
    client = TestClient(create_app(service, store=lambda labels: {}))
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]["/v1/predict"]["post"]["responses"]) >= {"200", "400", "422", "503"}
    for path, methods in schema["paths"].items():
        for method in methods:
            address = path.format(name="rents", version="7")
            status = client.request(method, address, json={}).status_code
            assert str(status) in methods[method]["responses"], path
            assert status == (422 if method == "post" else 200)
    assert schema["info"]["title"] == CONTRACT.title
