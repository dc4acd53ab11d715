"""The service answers predictions, and refuses what breaks the contract by its name."""

import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from mlref.bundle.predictor import Predictor
from tests.fakes import CONTRACT, HALF_WIDTH, linear

ROW = {"area": 70.5, "rooms": 3, "heating": "oil", "balcony": 4}
SECRET = 987654.25
"""A value that is planted in bad requests and must not come back."""

CELLS = [
    # what is sent for a column, and what the answer says was sent
    pytest.param("area", '"70.5"', "text", id="a string for a number"),
    pytest.param("area", "true", "a boolean", id="a boolean for a number"),
    pytest.param("rooms", "true", "a boolean", id="a boolean for an integer"),
    pytest.param("heating", "false", "a boolean", id="a boolean for a category"),
    pytest.param("area", "NaN", "NaN or Infinity", id="NaN"),
    pytest.param("balcony", "NaN", "NaN or Infinity", id="NaN where null is allowed"),
    pytest.param("heating", "NaN", "NaN or Infinity", id="NaN for a category"),
    pytest.param("area", "Infinity", "NaN or Infinity", id="Infinity"),
    pytest.param("area", "-Infinity", "NaN or Infinity", id="-Infinity"),
    pytest.param("area", "1e999", "a number outside", id="1e999"),
    pytest.param("area", "-1e999", "a number outside", id="-1e999"),
    pytest.param("area", "9" * 350, "a number outside", id="an integer of 350 digits"),
    pytest.param("area", "null", "null", id="null where it is not allowed"),
    pytest.param("area", str(SECRET), "a number outside", id="a number above valid"),
    pytest.param("area", "-1", "a number outside", id="a number below valid"),
    pytest.param("balcony", "100.5", "a number outside", id="outside valid of a nullable column"),
    pytest.param("rooms", "3.5", "a fraction", id="a fraction for an integer"),
    pytest.param("rooms", "1e999", "a number outside", id="infinity for an integer"),
    pytest.param("rooms", "21", "a number outside", id="an integer above valid"),
    pytest.param("heating", '"coal"', "another text", id="an unknown category"),
    pytest.param("heating", "1", "a number", id="a category's index"),
    pytest.param("area", "[70]", "a list", id="a list"),
    pytest.param("area", '{"value": 70}', "an object", id="an object"),
]

ENVELOPES = [
    # a body, and the key that the answer names
    pytest.param('{"instances": []}', "instances", "a list of 0", id="an empty list"),
    pytest.param('{"instances": 5}', "instances", "a number", id="a number for the list"),
    pytest.param('{"instances": {}}', "instances", "an object", id="an object for the list"),
    pytest.param('{"instances": null}', "instances", "null", id="null for the list"),
    pytest.param("{}", None, "an object", id="no instances"),
    pytest.param('{"instances": [{}], "x": 1}', None, "an object", id="an extra key"),
    pytest.param("[]", None, "a list", id="a list for the envelope"),
    pytest.param("5", None, "a number", id="a number for the envelope"),
    pytest.param("NaN", None, "NaN or Infinity", id="NaN for the envelope"),
]

UNREADABLE = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"area=70", id="a form"),
    pytest.param(b'{"instances": [', id="broken off"),
    pytest.param(b"{'instances': []}", id="single quotes"),
    pytest.param(b'\xff\xfe{"instances": []}', id="not UTF-8"),
    pytest.param('{"instances": []}'.encode("utf-16"), id="UTF-16"),
    pytest.param(b'{"instances": [{"area": ' + b"9" * 9999 + b"}]}", id="thousands of digits"),
    pytest.param(b"[" * 200_000, id="a deep list"),
    pytest.param(b'{"instances":' * 200_000, id="a deep object"),
]


def body(**cells: str) -> str:
    """A request with one good row and a second one in which cells are replaced, as JSON text."""
    good = {name: json.dumps(value) for name, value in ROW.items()}
    return f'{{"instances": [{as_object(good)}, {as_object({**good, **cells})}]}}'


def as_object(cells: dict[str, str]) -> str:
    """A JSON object whose values are JSON text already."""
    return "{" + ", ".join(f'"{key}": {cell}' for key, cell in cells.items()) + "}"


def refused(response: Any, status: int = 422) -> list[dict[str, object]]:
    """The details of an error, after checking what every error must keep."""
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    error = response.json()["error"]
    assert set(error) == {"code", "message", "request_id", "details"}
    assert error["request_id"] == response.headers["x-request-id"]
    for leak in ("Traceback", ".py", "/work", "/tmp", "/home", "site-packages", str(SECRET)):
        assert leak not in response.text
    return list(error["details"])


def test_a_row_gets_a_value_inside_its_interval(client: TestClient, predictor: Predictor) -> None:
    answer = client.post("/v1/predict", json={"instances": [ROW]}).json()
    assert answer["model"] == {"name": "rents", "version": 7, "digest": predictor.digest}
    [one] = answer["predictions"]
    value = linear([70.5, 3, 1, 4])
    assert one["value"] == pytest.approx(value)
    assert (one["lower"], one["upper"]) == pytest.approx((value - HALF_WIDTH, value + HALF_WIDTH))
    assert one["warnings"] == []


def test_rows_are_answered_in_their_order_each_with_an_id(client: TestClient) -> None:
    rows = [{**ROW, "area": area} for area in (100, 50, 200)]
    found = client.post("/v1/predict", json={"instances": rows}).json()["predictions"]
    values = [one["value"] for one in found]
    assert values == pytest.approx([linear([area, 3, 1, 4]) for area in (100, 50, 200)])
    assert len({one["id"] for one in found}) == 3


def test_null_is_taken_where_the_contract_allows_it(client: TestClient) -> None:
    row = {"balcony": None, "heating": "gas", "rooms": 3.0, "area": 70}
    [one] = client.post("/v1/predict", json={"instances": [row]}).json()["predictions"]
    assert one["value"] == pytest.approx(linear([70, 3, 0, None]))


def test_an_unusual_value_is_answered_with_a_warning(client: TestClient) -> None:
    rows = [ROW, {**ROW, "area": 345.75, "rooms": 12}]
    usual, unusual = client.post("/v1/predict", json={"instances": rows}).json()["predictions"]
    assert usual["warnings"] == []
    assert unusual["warnings"] == [
        "area is unusual: expected 20 to 300 m².",
        "rooms is unusual: expected 1 to 8.",
    ]


@pytest.mark.parametrize(("column", "cell", "got"), CELLS)
def test_a_bad_value_is_refused_with_its_place(
    client: TestClient, column: str, cell: str, got: str
) -> None:
    details = refused(client.post("/v1/predict", content=body(**{column: cell})))
    [accepts] = [one.accepts for one in CONTRACT.features if one.name == column]
    assert details == [{"instance": 1, "column": column, "allowed": accepts, "got": got}]


def test_an_extra_column_is_refused(client: TestClient) -> None:
    [detail] = refused(client.post("/v1/predict", json={"instances": [{**ROW, "rent": SECRET}]}))
    assert (detail["instance"], detail["column"]) == (0, "rent")
    assert detail["got"] == "an unknown column"
    assert detail["allowed"] == "area, rooms, heating, balcony"


def test_of_two_equal_keys_the_last_one_counts(client: TestClient) -> None:
    good = json.dumps({"instances": [ROW]})
    twice = good.replace('{"area"', '{"area": "x", "area"')
    [one] = client.post("/v1/predict", content=twice).json()["predictions"]
    assert one["value"] == pytest.approx(linear([70.5, 3, 1, 4]))
    [detail] = refused(client.post("/v1/predict", content=good.replace("}", ', "area": "x"}', 1)))
    assert (detail["column"], detail["got"]) == ("area", "text")


def test_a_byte_order_mark_is_passed_over(client: TestClient) -> None:
    content = b"\xef\xbb\xbf" + json.dumps({"instances": [ROW]}).encode()
    assert client.post("/v1/predict", content=content).status_code == 200
    content = content.replace(b"70.5", b"-1")
    [detail] = refused(client.post("/v1/predict", content=content))
    assert detail["column"] == "area"


@pytest.mark.parametrize("row", ["[70, 3]", "null", "70", '"area"', "NaN"])
def test_a_row_that_is_no_object_is_refused(client: TestClient, row: str) -> None:
    content = f'{{"instances": [{json.dumps(ROW)}, {row}]}}'
    [detail] = refused(client.post("/v1/predict", content=content))
    assert (detail["instance"], detail["column"]) == (1, None)
    assert detail["allowed"] == "an object of column names to values"


@pytest.mark.parametrize(("content", "key", "got"), ENVELOPES)
def test_a_wrong_envelope_is_refused(
    client: TestClient, content: str, key: str | None, got: str
) -> None:
    [detail] = refused(client.post("/v1/predict", content=content))
    assert (detail["instance"], detail["column"], detail["got"]) == (None, key, got)
    assert detail["allowed"]


@pytest.mark.parametrize("content", UNREADABLE)
def test_a_body_that_cannot_be_read_is_refused(client: TestClient, content: bytes) -> None:
    assert refused(client.post("/v1/predict", content=content), 400) == []


@pytest.mark.parametrize("depth", [100, 700, 850, 999])
def test_a_deeply_nested_value_is_refused(client: TestClient, depth: int) -> None:
    nested = body(area="[" * depth + "]" * depth)
    response = client.post("/v1/predict", content=nested)
    refused(response, 400 if response.status_code == 400 else 422)


def test_every_fault_is_named_at_once_up_to_a_hundred(client: TestClient) -> None:
    rows = [{**ROW, "area": SECRET, "rooms": None}] * 80
    response = client.post("/v1/predict", json={"instances": rows[:40]})
    assert len(refused(response)) == 80
    response = client.post("/v1/predict", json={"instances": rows})
    assert len(refused(response)) == 100
    assert "30 more rows were not looked at" in response.json()["error"]["message"]


def test_a_made_up_key_is_cut_before_it_is_named(client: TestClient) -> None:
    row = f'{json.dumps(ROW)[:-1]}, "\\ud800{"k" * 5000}": 1}}'
    [detail] = refused(client.post("/v1/predict", content=f'{{"instances": [{row}]}}'))
    assert len(str(detail["column"])) == 64


def test_the_model_route_gives_record_and_contract(
    client: TestClient, predictor: Predictor
) -> None:
    about = client.get("/v1/model").json()
    assert about["model"] == {"name": "rents", "version": 7, "digest": predictor.digest}
    assert about["record"]["metrics"] == {"rmse": {"value": 54.1}}
    assert [column["name"] for column in about["contract"]["features"]] == list(CONTRACT.names)
    assert "source" not in about["contract"]


@pytest.mark.parametrize("state", ["live", "ready"])
def test_the_service_says_how_it_is(client: TestClient, state: str) -> None:
    response = client.get(f"/health/{state}")
    assert (response.status_code, response.json()) == (200, {"status": state})


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/predict", 405, "method_not_allowed"),
        ("POST", "/v1/model", 405, "method_not_allowed"),
        ("GET", "/v1/predict/", 404, "not_found"),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404, "not_found"),
        ("GET", "/swagger/%2e%2e/main.py", 404, "not_found"),
        ("GET", "/nothing", 404, "not_found"),
    ],
)
def test_a_wrong_route_or_method_gets_the_same_body(
    client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    response = client.request(method, path)
    assert refused(response, status) == []
    assert response.json()["error"]["code"] == code
    assert (status == 405) == ("allow" in response.headers)


@pytest.mark.parametrize(("path", "count"), [("/", 3), ("/docs", 3)])
def test_pages_need_no_other_host(client: TestClient, path: str, count: int) -> None:
    page = client.get(path)
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"https?://|//cdn", page.text)
    assets = re.findall(r'(?:src|href)="([^"]+\.(?:css|js|png))"', page.text)
    assert len(assets) == count
    for asset in assets:
        assert client.get(f"/{asset}").status_code == 200
