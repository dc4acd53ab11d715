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
from mlref.serving.openapi import document
from mlref.serving.reader import Reader
from mlref.serving.schemas import column_schema
from mlref.serving.service import Service
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


def validator(contract: Contract) -> Draft202012Validator:
    """The documented schema of a request."""
    schema = document(contract, "1")
    return Draft202012Validator(
        {"$ref": "#/components/schemas/PredictRequest", "components": schema["components"]}
    )


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_schema_and_service_give_the_same_verdict(name: str) -> None:
    """Whatever is sent, the schema accepts it exactly when the service does."""
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
def test_the_schema_is_valid_and_accepts_its_own_example(name: str) -> None:
    """What /docs fills in can be sent as it is."""
    contract = CONTRACTS[name]
    schemas = document(contract, "1")["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    [example] = schemas["PredictRequest"]["examples"]
    assert example == {"instances": [contract.example]}
    validator(contract).validate(example)


def test_a_column_is_described_as_the_contract_declares_it() -> None:
    """Type, range, meaning, unit and example."""
    schema = column_schema(CONTRACT.features[0])
    assert schema == {
        "title": "Area",
        "description": "Living area. Unit: m². Usually from 20 to 300.",
        "examples": [70.5],
        "minimum": 5,
        "maximum": 1000,
        "type": "number",
    }


def test_categories_and_null_are_listed() -> None:
    """A nullable category lists null among its values."""
    heating = CONTRACT.features[2]
    assert column_schema(heating)["enum"] == ["gas", "oil", "wood"]
    nullable = column_schema(heating.model_copy(update={"nullable": True}))
    assert nullable["enum"] == ["gas", "oil", "wood", None]
    assert nullable["type"] == ["string", "null"]


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_the_documented_examples_keep_their_own_schema(name: str) -> None:
    """An example that the schema refuses would teach something wrong."""
    schema = document(CONTRACTS[name], "1")
    known = schema["components"]
    bodies = [
        response["content"]["application/json"]
        for response in schema["paths"]["/v1/predict"]["post"]["responses"].values()
    ]
    shown = [(body["schema"], body["example"]) for body in bodies if "example" in body]
    shown += [
        (one, example) for one in known["schemas"].values() for example in one.get("examples", ())
    ]
    assert len(shown) > 6
    for one, example in shown:
        Draft202012Validator({**one, "components": known}).validate(example)


@pytest.mark.parametrize(("status", "sent"), [(400, "{"), (422, "{}")])
def test_the_documented_codes_are_those_of_the_service(
    client: TestClient, status: int, sent: str
) -> None:
    """Clients branch on the code, so the documented one must be the real one."""
    response = client.post("/v1/predict", content=sent)
    documented = document(CONTRACT, "1")["paths"]["/v1/predict"]["post"]["responses"][str(status)]
    example = documented["content"]["application/json"]["example"]
    assert response.status_code == status
    assert response.json()["error"]["code"] == example["error"]["code"]


def test_the_served_document_covers_every_route(service: Service) -> None:
    """Each route of the service is in it, with the statuses that it gives."""
    client = TestClient(create_app(service, store=lambda labels: {}))
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]["/v1/predict"]["post"]["responses"]) >= {"200", "400", "422", "503"}
    for path, methods in schema["paths"].items():
        for method in methods:
            status = client.request(method, path, json={}).status_code
            assert str(status) in methods[method]["responses"], path
            assert status == (422 if method == "post" else 200)
    assert schema["info"]["title"] == CONTRACT.title


@pytest.mark.parametrize(
    ("method", "path", "sent", "name"),
    [
        ("POST", "/v1/predict", {"instances": [CONTRACT.example]}, "PredictResponse"),
        ("POST", "/v1/predict", {"instances": [CONTRACT.example, 5]}, "Error"),
        ("GET", "/v1/model", None, "Model"),
        ("GET", "/health/ready", None, "Health"),
        ("GET", "/nothing", None, "Error"),
    ],
)
def test_answers_are_as_documented(
    client: TestClient, method: str, path: str, sent: Any, name: str
) -> None:
    """The schema of each response holds for a real one."""
    schema = client.get("/openapi.json").json()
    answer = client.request(method, path, json=sent).json()
    reference = {"$ref": f"#/components/schemas/{name}", "components": schema["components"]}
    Draft202012Validator(reference).validate(answer)


def test_the_document_asks_for_a_key_where_the_service_does() -> None:
    """A balancer is shown no lock; whoever predicts is."""
    shown = document(CONTRACT, 7)["paths"]
    free = {
        path for path, item in shown.items() if all(o.get("security") == [] for o in item.values())
    }
    assert free == {"/health/live", "/health/ready", "/ping", "/v2/health/live", "/v2/health/ready"}
