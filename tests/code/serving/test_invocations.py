"""MLflow's clients are answered."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

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
    """One a row, in their order."""
    response = client.post("/invocations", json=body)
    assert response.json() == {"predictions": pytest.approx(VALUES)}


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"instances": RECORDS, "inputs": ROWS},
        {"instances": RECORDS, "more": 1},
        {"instances": []},
        {"instances": 5},
        {"inputs": {"area": [1, 2], "rooms": [1]}},
        {"inputs": {"area": 5}},
        {"instances": [[1, 2]]},
        {"dataframe_split": {"columns": NAMES}},
        {"dataframe_split": {"columns": [*NAMES, "area"], "data": [[*ROWS[0], 5]]}},
        {"dataframe_split": [1]},
        {"dataframe_split": {"columns": [{}], "data": []}},
        {"dataframe_records": [{**RECORDS[0], "area": "70"}]},
    ],
)
def test_what_is_none_of_them_is_refused(client: TestClient, body: Any) -> None:
    """In the one error body."""
    response = client.post("/invocations", json=body)
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "rows_refused"


def test_the_server_answers_ping_and_version(client: TestClient) -> None:
    """As MLflow's does."""
    assert client.get("/ping").status_code == client.get("/version").status_code == 200
