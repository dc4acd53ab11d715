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


@pytest.mark.parametrize(
    ("body", "key", "got"),
    [
        ([], None, "a list"),
        ({}, None, "an object"),
        ({"instances": RECORDS, "inputs": ROWS}, None, "an object"),
        ({"instances": RECORDS, "more": 1}, None, "an object"),
        ({"instances": RECORDS, "params": {"temperature": 1}}, "params", "parameters"),
        ({"instances": []}, "instances", "an empty list"),
        ({"instances": 5}, "instances", "a number"),
        ({"inputs": {"area": [1, 2], "rooms": [1]}}, "inputs", "columns of different lengths"),
        ({"inputs": {"area": 5}}, "inputs", "an object"),
        ({"inputs": {}}, "inputs", "an empty list"),
        ({"instances": [[1, 2]]}, None, "a list"),
        ({"dataframe_split": {"columns": NAMES}}, "data", "nothing"),
        ({"dataframe_split": {"columns": NAMES, "data": 5}}, "dataframe_split", "a number"),
        ({"dataframe_split": {"columns": NAMES, "data": [[1]]}}, None, "a list"),
        (
            {"dataframe_split": {"columns": [*NAMES, "area"], "data": [[*ROWS[0], 5]]}},
            *("columns", "a name more than once"),
        ),
        ({"dataframe_split": {"columns": NAMES[:3], "data": [ROWS[0][:3]]}}, "balcony", "nothing"),
        ({"dataframe_split": [1]}, None, "a list"),
        ({"dataframe_split": {"columns": [{}], "data": []}}, "columns", "a list"),
        ({"dataframe_records": [{**RECORDS[0], "area": "70"}]}, "area", "text"),
        ({"dataframe_records": [[*ROWS[0][:3], "4"]]}, "balcony", "text"),
    ],
)
def test_what_is_none_of_them_is_refused(
    client: TestClient, body: Any, key: str | None, got: str
) -> None:
    response = client.post("/invocations", json=body)
    assert response.status_code == 422
    error = response.json()["error"]
    assert error["code"] == "rows_refused"
    assert (error["details"][0]["column"], error["details"][0]["got"]) == (key, got)


def test_the_server_says_how_it_is(client: TestClient) -> None:
    assert client.get("/ping").status_code == 200
    response = client.get("/version")
    assert response.text == __version__
    assert response.headers["content-type"].startswith("text/plain")
