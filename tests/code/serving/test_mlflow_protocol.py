"""MLflow's protocol: its forms of a request, and the server's own addresses."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from mlref import __version__
from tests.fakes import CONTRACT, linear

ROWS = [[70.5, 3, "oil", 4], [100, 2, "gas", None]]
NAMES = list(CONTRACT.names)
RECORDS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
VALUES = [linear([70.5, 3, 1, 4]), linear([100, 2, 0, None])]


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": NAMES[::-1], "data": [row[::-1] for row in ROWS]}},
        {"dataframe_split": {"columns": NAMES, "data": ROWS, "index": [0, 1]}, "params": {}},
        {"dataframe_records": RECORDS},
        {"instances": RECORDS},
        {"instances": ROWS},
        {"inputs": {name: [row[place] for row in ROWS] for place, name in enumerate(NAMES)}},
        {"inputs": ROWS},
    ],
)
def test_each_form_gives_the_values(client: TestClient, body: Any) -> None:
    response = client.post("/invocations", json=body)
    assert response.json() == {"predictions": pytest.approx(VALUES)}


CSV = "area,rooms,heating,balcony\n70.5,3,oil,4\n100,2,gas,\n"


def test_csv_is_taken_as_mlflows_own_server_takes_it(client: TestClient) -> None:
    """An empty cell is null; elsewhere CSV is no body."""
    kind = {"content-type": "text/csv; charset=utf-8"}
    response = client.post("/invocations", content=CSV, headers=kind)
    assert response.json() == {"predictions": pytest.approx(VALUES)}
    assert client.post("/v1/predict", content=CSV, headers=kind).status_code == 415


@pytest.mark.parametrize(
    ("body", "key", "got"),
    [
        (b"", "rows", "a list of 0"),
        (b"area,rooms\n", "rows", "a list of 0"),
        (CSV.replace("70.5", "tall").encode(), "area", "text"),
        (CSV.replace("oil,4", "oil").encode(), None, "a list"),
        (CSV.replace("balcony", "garden").encode(), "balcony", "nothing"),
        (b'area\n"70', None, "another form"),
        ("area\nä".encode("latin-1"), None, "another form"),
    ],
)
def test_csv_that_is_no_table_of_the_contract_is_refused(
    client: TestClient, body: bytes, key: str | None, got: str
) -> None:
    response = client.post("/invocations", content=body, headers={"content-type": "text/csv"})
    assert response.status_code == 422
    detail = response.json()["error"]["details"][0]
    assert (detail["column"], detail["got"]) == (key, got)


def split(columns: Any, *rows: Any) -> Any:
    """Names apart from the values."""
    return {"dataframe_split": {"columns": columns, "data": [*rows]}}


@pytest.mark.parametrize(
    ("body", "key", "got"),
    [
        ([], None, "another form"),
        ({}, None, "another form"),
        ({"instances": RECORDS, "inputs": ROWS}, None, "another form"),
        ({"instances": RECORDS, "more": 1}, None, "another form"),
        ({"instances": RECORDS, "params": {"temperature": 1}}, None, "another form"),
        ({"instances": 5}, "$.instances", "another form"),
        ({"instances": []}, "rows", "a list of 0"),
        ({"inputs": {"area": [1, 2], "rooms": [1]}}, "inputs", "columns of different lengths"),
        ({"dataframe_split": {"columns": NAMES}}, "$.dataframe_split", "another form"),
        (split([*NAMES, "area"], [*ROWS[0], 5]), "columns", "a name more than once"),
        (split(NAMES[:3], ROWS[0][:3]), "balcony", "nothing"),
        (split(NAMES, [1]), None, "a list"),
        ({"instances": [[1, 2]]}, None, "a list"),
        ({"dataframe_records": [{**RECORDS[0], "area": "70"}]}, "area", "text"),
        ({"dataframe_records": [[*ROWS[0][:3], "4"]]}, "balcony", "text"),
    ],
)
def test_what_is_none_of_them_is_refused(
    client: TestClient, body: Any, key: str | None, got: str
) -> None:
    response = client.post("/invocations", json=body)
    assert response.status_code == 422
    detail = response.json()["error"]["details"][0]
    assert (detail["column"], detail["got"]) == (key, got)


def test_the_server_says_how_it_is(client: TestClient) -> None:
    assert client.get("/ping").status_code == 200
    response = client.get("/version")
    assert response.text == __version__
    assert response.headers["content-type"].startswith("text/plain")
