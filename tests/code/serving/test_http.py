"""Requests and answers of all three protocols: what is answered, what is refused, and how it is said."""

import json
import re
from typing import Any
from unittest.mock import ANY

import pytest
from fastapi.testclient import TestClient

from mlref import __version__
from mlref.bundle.predictor import Predictor
from tests.fakes import CONTRACT, HALF_WIDTH, linear

PREDICT, MLFLOW, INFER = "/v1/predict", "/invocations", "/v2/models/rents/infer"
NAMES = list(CONTRACT.names)
ROWS = [[70.5, 3, "oil", 4], [100, 2, "gas", None]]
RECORDS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
VALUES = linear([[70.5, 3, 1, 4], [100, 2, 0, None]])
LEAKS = re.compile(r"Traceback|\.py\b|/home|/tmp|site-packages|987654|dung")
"""Parts of our machine, and values that are planted in bad requests; no answer may hold them."""


def tensor(name: str, datatype: str, data: list[Any], shape: list[Any] | None = None) -> Any:
    """One input of Open Inference."""
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


INPUTS = [
    tensor("area", "FP64", [70.5, 100]),
    tensor("rooms", "INT64", [[3], [2]], [2, 1]),
    tensor("heating", "BYTES", ["oil", "gas"]),
    tensor("balcony", "FP32", [4, None], [2, 1]),
]


def split(columns: Any, *rows: Any, **more: Any) -> Any:
    """MLflow's form with names apart from the values."""
    return {"dataframe_split": {"columns": columns, "data": [*rows], **more}}


def send(client: TestClient, path: str, body: Any) -> Any:
    """Send JSON, or text as it is."""
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.post(path, content=content, headers={"x-request-id": "r-1"})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PREDICT, {"instances": RECORDS}),
        (PREDICT, {"instances": [dict(reversed(row.items())) for row in RECORDS]}),
        (MLFLOW, split(NAMES[::-1], *(row[::-1] for row in ROWS))),
        (MLFLOW, {**split(NAMES, *ROWS, index=[0, 1]), "params": {}}),
        (MLFLOW, {"dataframe_records": RECORDS}),
        (MLFLOW, {"instances": RECORDS}),
        (MLFLOW, {"instances": ROWS}),
        (MLFLOW, {"inputs": dict(zip(NAMES, zip(*ROWS, strict=True), strict=True))}),
        (MLFLOW, {"inputs": ROWS}),
        (INFER, {"inputs": INPUTS}),
        ("/v2/models/rents/versions/7/infer", {"inputs": INPUTS}),
    ],
)  # fmt: skip
def test_every_form_of_a_request_gives_the_same_values(
    shared: TestClient, path: str, body: Any
) -> None:
    answer = send(shared, path, body).json()
    found = answer["outputs"][0]["data"] if path.startswith("/v2") else answer["predictions"]
    values = [one["value"] if isinstance(one, dict) else one for one in found]
    assert values == pytest.approx(VALUES)


CSV = "area,rooms,heating,balcony\n70.5,3,oil,4\n100,2,gas,\n"


def send_csv(client: TestClient, path: str, body: str | bytes) -> Any:
    """Send a table of comma-separated values."""
    return client.post(path, content=body, headers={"content-type": "text/csv; charset=utf-8"})


def test_csv_is_taken_as_mlflows_own_server_takes_it(shared: TestClient) -> None:
    """An empty cell is null; elsewhere CSV is no body."""
    answer = send_csv(shared, MLFLOW, CSV).json()
    assert answer == {"predictions": pytest.approx(VALUES)}
    assert send_csv(shared, PREDICT, CSV).status_code == 415


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
    shared: TestClient, body: bytes, key: str | None, got: str
) -> None:
    detail = refused(send_csv(shared, MLFLOW, body), MLFLOW, 422)[0]
    assert (detail["column"], detail["got"]) == (key, got)


def test_a_prediction_has_an_id_a_value_an_interval_and_warnings(
    shared: TestClient, predictor: Predictor
) -> None:
    rows = [RECORDS[0], {**RECORDS[0], "area": 345.75, "rooms": 12.0}]
    answer = send(shared, PREDICT, {"instances": rows}).json()
    assert answer["model"] == {"name": "rents", "version": 7, "digest": predictor.digest}
    for one, value in zip(answer["predictions"], linear([[70.5, 3, 1, 4], [345.75, 12, 1, 4]])):
        ends = {"lower": value - HALF_WIDTH, "upper": value + HALF_WIDTH}
        assert one == pytest.approx({"id": ANY, "value": value, "warnings": ANY, **ends})
    usual, unusual = answer["predictions"]
    assert usual["id"] != unusual["id"] and usual["warnings"] == []
    assert unusual["warnings"] == [
        "area is unusual: expected 20 to 300 m².",
        "rooms is unusual: expected 1 to 8.",
    ]


def test_a_byte_order_mark_is_passed_over_and_of_two_equal_keys_the_last_one_counts(
    shared: TestClient,
) -> None:
    body = "\ufeff" + json.dumps({"instances": RECORDS}).replace('{"area"', '{"area": "x", "area"')
    assert send(shared, PREDICT, body.encode()).status_code == 200
    later = send(shared, PREDICT, body.replace("}", ', "area": "x"}', 1).encode())
    assert refused(later, PREDICT, 422)[0]["got"] == "text"


def refused(response: Any, path: str, status: int) -> Any:
    """What an error says: its details, or the sentence of Open Inference; checks what each must keep."""
    assert response.status_code == status, response.text
    assert not LEAKS.search(response.text), response.text
    assert set(response.json()) == {"error"}
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    if path.startswith("/v2"):
        assert isinstance(error, str)
        return error
    assert set(error) == {"code", "message", "request_id", "details"}
    assert error["request_id"] == response.headers["x-request-id"]
    return error["details"]


CELLS = [
    # what is sent for a column, and what the answer says was sent
    *(("area", cell, "a number outside") for cell in ("987654.25", "-1", "1e999", "-1e999", "9" * 350)),
    *(("area", cell, "NaN or Infinity") for cell in ("NaN", "Infinity", "-Infinity")),
    ("area", '"70.5"', "text"),
    ("area", "true", "a boolean"),
    ("area", "null", "null"),
    ("area", '["dung"]', "a list"),
    ("area", '{"dung": 70}', "an object"),
    ("rooms", "true", "a boolean"),
    ("rooms", "3.5", "a fraction"),
    ("rooms", "1e999", "a number outside"),
    ("rooms", "21", "a number outside"),
    ("heating", '"dung"', "another text"),
    ("heating", "1", "a number"),
    ("heating", "false", "a boolean"),
    ("heating", "NaN", "NaN or Infinity"),
    ("balcony", "NaN", "NaN or Infinity"),
    ("balcony", "100.5", "a number outside"),
]  # fmt: skip


@pytest.mark.parametrize("path", [PREDICT, MLFLOW, INFER])
def test_a_bad_cell_is_refused_with_its_place_and_without_its_value(
    shared: TestClient, path: str
) -> None:
    for column, cell, got in CELLS:
        rows = [RECORDS[0], {**RECORDS[0], column: "@"}]
        body = {
            PREDICT: {"instances": rows},
            MLFLOW: split(NAMES, *([*row.values()] for row in rows)),
            INFER: {"inputs": [tensor(one, "FP64", [row[one] for row in rows]) for one in NAMES]},
        }[path]
        found = refused(send(shared, path, json.dumps(body).replace('"@"', cell)), path, 422)
        [allowed] = [one.accepts for one in CONTRACT.features if one.name == column]
        if path == INFER:
            assert f"row 1, column '{column}': got {got}; allowed: {allowed}" in found
        else:
            assert found == [{"instance": 1, "column": column, "allowed": allowed, "got": got}]


def with_balcony(*parts: Any) -> Any:
    """A request of Open Inference whose last input is another one."""
    return {"inputs": [*INPUTS[:3], tensor("balcony", *parts)]}


KEY_TOO_LONG = f'{{"instances": [{json.dumps(RECORDS[0])[:-1]}, "\\ud800{"k" * 5000}": 1}}]}}'

REFUSED: list[tuple[str, Any, Any]] = [
    # instance, column and kind of the first fault, or a part of Open Inference's sentence
    (PREDICT, {"instances": []}, (None, "instances", "a list of 0")),
    (PREDICT, {"instances": 5}, (None, "instances", "a number")),
    (PREDICT, {}, (None, None, "an object")),
    (PREDICT, {"instances": [{}], "x": 1}, (None, None, "an object")),
    (PREDICT, [], (None, None, "a list")),
    (PREDICT, "NaN", (None, None, "NaN or Infinity")),
    (PREDICT, {"instances": [RECORDS[0], [70, 3]]}, (1, None, "a list")),
    (PREDICT, {"instances": [RECORDS[0], None]}, (1, None, "null")),
    (PREDICT, '{"instances": [NaN]}', (0, None, "NaN or Infinity")),
    (PREDICT, {"instances": [{**RECORDS[0], "rent": "dung"}]}, (0, "rent", "an unknown column")),
    (PREDICT, KEY_TOO_LONG, (0, "?" + "k" * 63, "an unknown column")),
    (MLFLOW, {}, (None, None, "another form")),
    (MLFLOW, {"instances": RECORDS, "inputs": ROWS}, (None, None, "another form")),
    (MLFLOW, {"instances": RECORDS, "more": 1}, (None, None, "another form")),
    (MLFLOW, {"instances": RECORDS, "params": {"seed": 1}}, (None, None, "another form")),
    (MLFLOW, {"instances": 5}, (None, "$.instances", "another form")),
    (MLFLOW, {"inputs": {"area": [1, 2], "rooms": [1]}}, (None, "inputs", "columns of different lengths")),
    (MLFLOW, {"dataframe_split": {"columns": NAMES}}, (None, "$.dataframe_split", "another form")),
    (MLFLOW, split([*NAMES, "area"], [*ROWS[0], 5]), (None, "columns", "a name more than once")),
    (MLFLOW, split(NAMES[:3], ROWS[0][:3]), (0, "balcony", "nothing")),
    (MLFLOW, {"instances": [[1, 2]]}, (0, None, "a list")),
    (MLFLOW, {"dataframe_records": [[*ROWS[0][:3], "4"]]}, (0, "balcony", "text")),
    (INFER, [], "Expected `object`, got `array`"),
    (INFER, {"inputs": []}, "$.inputs"),
    (INFER, {"inputs": [{"name": "area", "shape": [1], "datatype": "FP64"}]}, "`data`"),
    (INFER, {"inputs": INPUTS, "outputs": [{"name": "variance"}]}, "$.outputs[0].name"),
    (INFER, {"inputs": INPUTS[:3]}, "'balcony': got nothing"),
    (INFER, {"inputs": [*INPUTS, INPUTS[0]]}, "one input a column"),
    (INFER, {"inputs": [*INPUTS, tensor("rent", "FP64", [4, 5])]}, "'rent': got an unknown column"),
    (INFER, with_balcony("FP32", [4]), "'balcony': got 1 values"),
    (INFER, with_balcony("FP32", [4, 5], [3]), "shape [n] or [n, 1]"),
    (INFER, with_balcony("FP32", [4, 5], [1, 2]), "shape [n] or [n, 1]"),
    (INFER, with_balcony("INT8", [4, 5], [True]), "$.inputs[3].shape[0]"),
    (INFER, with_balcony("INT8", [4, 5.5]), "'balcony': got a fraction"),
    (INFER, with_balcony("F4", [4, 5]), "$.inputs[3].datatype"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "said"), REFUSED)
def test_a_body_of_another_form_is_refused_with_what_is_wrong(
    shared: TestClient, path: str, body: Any, said: Any
) -> None:
    found = refused(send(shared, path, body), path, 422)
    if path == INFER:
        assert said in found
    else:
        assert (found[0]["instance"], found[0]["column"], found[0]["got"]) == said
        assert found[0]["allowed"]


UNREADABLE = [
    *(b"", b"area=70", b'{"instances": [', b"{'instances': []}"),
    *(b'\xff\xfe{"instances": []}', '{"instances": []}'.encode("utf-16")),
    b'{"instances": [{"area": ' + b"9" * 9999 + b"}]}",
    *(b"[" * 200_000, b'{"instances":' * 200_000),
]


@pytest.mark.parametrize("path", [PREDICT, MLFLOW, INFER])
def test_a_body_that_cannot_be_read_is_refused(shared: TestClient, path: str) -> None:
    for content in UNREADABLE:
        found = refused(send(shared, path, content), path, 400)
        assert found == [] or "The body is not JSON that can be read" in found
    for depth in (100, 700, 850, 999):  # where the two readers of JSON give up
        body = json.dumps({"instances": [{"area": 0}]}).replace("0", "[" * depth + "]" * depth)
        response = send(shared, path, body)
        refused(response, path, 400 if response.status_code == 400 else 422)


def test_every_fault_is_named_at_once_up_to_a_hundred(shared: TestClient) -> None:
    rows = [{**RECORDS[0], "area": 987654.25, "rooms": None}] * 80
    assert len(refused(send(shared, PREDICT, {"instances": rows[:40]}), PREDICT, 422)) == 80
    response = send(shared, PREDICT, {"instances": rows})
    assert len(refused(response, PREDICT, 422)) == 100
    assert "30 more rows were not looked at" in response.json()["error"]["message"]


ROUTES = [
    ("GET", PREDICT, 405),
    ("POST", "/v1/model", 405),
    ("GET", "/v1/predict/", 404),
    ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
    ("GET", "/swagger/%2e%2e/main.py", 404),
    ("GET", "/nothing", 404),
    ("POST", "/v2/models/other/infer", 404),
    ("POST", "/v2/models/rents/versions/8/infer", 404),
    ("GET", "/v2/models/other", 404),
    ("GET", "/v2/models/other/ready", 404),
    ("GET", "/v2/models/rents/versions/8", 404),
    ("GET", "/v2/nothing", 404),
    ("GET", INFER, 405),
]


@pytest.mark.parametrize(("method", "path", "status"), ROUTES)
def test_a_wrong_route_method_or_model_is_an_error_like_any_other(
    shared: TestClient, method: str, path: str, status: int
) -> None:
    response = shared.request(method, path)
    assert refused(response, path, status) == [] or path.startswith("/v2")
    assert (status == 405) == ("allow" in response.headers)


def test_service_and_model_are_described(shared: TestClient, predictor: Predictor) -> None:
    for path, answer in (
        ("/health/live", {"status": "live"}),
        ("/health/ready", {"status": "ready"}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/rents/ready", {"name": "rents", "ready": True}),
        ("/v2", {"name": "mlref", "version": __version__, "extensions": []}),
    ):
        assert shared.get(path).json() == answer
    assert (shared.get("/ping").status_code, shared.get("/version").text) == (200, __version__)
    assert shared.get("/version").headers["content-type"].startswith("text/plain")
    about = shared.get("/v1/model").json()
    assert about["model"] == {"name": "rents", "version": 7, "digest": predictor.digest}
    assert about["record"]["metrics"] == {"rmse": {"value": 54.1}}
    assert [column["name"] for column in about["contract"]["features"]] == NAMES
    assert "source" not in about["contract"]
    about = shared.get("/v2/models/rents/versions/7").json()
    assert about["versions"] == ["7"]
    assert [one["datatype"] for one in about["inputs"]] == ["FP64", "FP64", "BYTES", "FP64"]
    assert [one["name"] for one in about["outputs"]] == ["value", "lower", "upper"]


@pytest.mark.parametrize(("path", "count"), [("/", 3), ("/docs", 3)])
def test_pages_need_no_other_host(shared: TestClient, path: str, count: int) -> None:
    page = shared.get(path)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert not re.search(r"https?://|//cdn", page.text)
    assets = re.findall(r'(?:src|href)="([^"]+\.(?:css|js|png))"', page.text)
    assert [shared.get(f"/{asset}").status_code for asset in assets] == [200] * count
