"""The Open Inference Protocol, version 2, over REST."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.fakes import HALF_WIDTH, linear

MODEL = "/v2/models/rents"
VALUES = [linear([70.5, 3, 1, 4]), linear([100, 2, 0, None])]


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> Any:
    """One input."""
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


INPUTS = [
    tensor("area", "FP64", [70.5, 100]),
    tensor("rooms", "INT64", [[3], [2]], [2, 1]),
    tensor("heating", "BYTES", ["oil", "gas"]),
    tensor("balcony", "FP32", [4, None], [2, 1]),
]


@pytest.mark.parametrize("path", [MODEL, f"{MODEL}/versions/7"])
def test_one_input_a_column_gives_three_outputs(client: TestClient, path: str) -> None:
    answer = client.post(f"{path}/infer", json={"id": "a7", "inputs": INPUTS}).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("rents", "7", "a7")
    assert [output["name"] for output in answer["outputs"]] == ["value", "lower", "upper"]
    value, lower, _ = answer["outputs"]
    assert value == {
        "name": "value",
        "datatype": "FP64",
        "shape": [2],
        "data": pytest.approx(VALUES),
    }
    assert lower["data"] == pytest.approx([one - HALF_WIDTH for one in VALUES])


def test_only_the_outputs_that_are_wanted_come(client: TestClient) -> None:
    wanted = [{"name": "upper"}, {"name": "value"}]
    answer = client.post(f"{MODEL}/infer", json={"inputs": INPUTS, "outputs": wanted}).json()
    assert [output["name"] for output in answer["outputs"]] == ["value", "upper"]
    assert "id" not in answer


def with_balcony(*parts: Any) -> Any:
    """A request whose last input is another one."""
    return {"inputs": [*INPUTS[:3], tensor("balcony", *parts)]}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([], "Expected `object`, got `array`"),
        ({"inputs": []}, "$.inputs"),
        ({"inputs": [5]}, "$.inputs[0]"),
        ({"inputs": [{"name": "area", "shape": [1], "datatype": "FP64"}]}, "`data`"),
        ({"inputs": INPUTS, "outputs": [{"name": "variance"}]}, "$.outputs[0].name"),
        ({"inputs": INPUTS, "id": 5}, "$.id"),
        ({"inputs": INPUTS[:3]}, "'balcony': got nothing"),
        ({"inputs": [*INPUTS, INPUTS[0]]}, "one input a column"),
        ({"inputs": [*INPUTS, tensor("rent", "FP64", [4, 5])]}, "'rent': got an unknown column"),
        (with_balcony("FP32", [4]), "'balcony': got 1 values"),
        (with_balcony("FP32", [4, 5], [3]), "shape [n] or [n, 1]"),
        (with_balcony("FP32", [4, 5], [1, 2]), "shape [n] or [n, 1]"),
        (with_balcony("INT8", [4, 5], [2.0]), "$.inputs[3].shape[0]"),
        (with_balcony("INT8", [4, 5], [True]), "$.inputs[3].shape[0]"),
        (with_balcony("INT8", [4, 5.5]), "'balcony': got a fraction"),
        (with_balcony("F4", [4, 5]), "$.inputs[3].datatype"),
        (with_balcony("FP32", [-4, 5]), "'balcony': got a number outside"),
        (with_balcony("FP32", ["4", 5]), "'balcony': got text"),
    ],
)
def test_what_breaks_protocol_or_contract_is_refused(
    client: TestClient, body: Any, sentence: str
) -> None:
    response = client.post(f"{MODEL}/infer", json=body)
    assert response.status_code == 422
    assert set(response.json()) == {"error"}
    assert sentence in response.json()["error"]


def test_the_binary_extension_is_refused_with_the_way_out(client: TestClient) -> None:
    headers = {"inference-header-content-length": "5"}
    response = client.post(f"{MODEL}/infer", content=b"{}   \x00", headers=headers)
    assert response.status_code == 400
    assert "binary_data=False" in response.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", f"{MODEL}/infer", b"{", 400),
        ("POST", "/v2/models/other/infer", b"{}", 404),
        ("POST", f"{MODEL}/versions/8/infer", b"{}", 404),
        ("GET", "/v2/models/other", b"", 404),
        ("GET", "/v2/models/other/ready", b"", 404),
        ("GET", f"{MODEL}/versions/8", b"", 404),
        ("GET", "/v2/nothing", b"", 404),
        ("GET", f"{MODEL}/infer", b"", 405),
    ],
)
def test_every_error_has_the_form_of_the_protocol(
    client: TestClient, method: str, path: str, content: bytes, status: int
) -> None:
    response = client.request(method, path, content=content)
    assert response.status_code == status
    assert isinstance(response.json()["error"], str) and response.json()["error"].endswith(".")


def test_server_and_model_are_described(client: TestClient) -> None:
    assert client.get("/v2").json()["name"] == "mlref"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get(f"{MODEL}/ready").json() == {"name": "rents", "ready": True}
    about = client.get(f"{MODEL}/versions/7").json()
    assert about["versions"] == ["7"]
    assert [one["datatype"] for one in about["inputs"]] == ["FP64", "FP64", "BYTES", "FP64"]
    assert [one["name"] for one in about["outputs"]] == ["value", "lower", "upper"]
