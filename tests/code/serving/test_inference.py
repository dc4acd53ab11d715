"""Clients of the Open Inference Protocol are answered."""

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
    """Flat or nested; the id comes back."""
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
    """In the order of the protocol's description of the model."""
    wanted = [{"name": "upper"}, {"name": "value"}]
    answer = client.post(f"{MODEL}/infer", json={"inputs": INPUTS, "outputs": wanted}).json()
    assert [output["name"] for output in answer["outputs"]] == ["value", "upper"]
    assert "id" not in answer


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"inputs": []},
        {"inputs": {}},
        {"inputs": [5]},
        {"inputs": INPUTS[:3]},
        {"inputs": [*INPUTS, INPUTS[0]]},
        {"inputs": [*INPUTS[:3], tensor("balcony", "FP32", [4])]},
        {"inputs": [*INPUTS[:3], tensor("balcony", "FP32", [4, 5], [3])]},
        {"inputs": [*INPUTS[:3], tensor("balcony", "FP32", [-4, 5])]},
        {"inputs": [{"name": [], "shape": [1], "datatype": "FP64", "data": [1]}]},
        {"inputs": INPUTS, "outputs": [{"name": "variance"}]},
        {"inputs": INPUTS, "outputs": 5},
        {"inputs": INPUTS, "id": 5},
    ],
)
def test_what_breaks_protocol_or_contract_is_refused(client: TestClient, body: Any) -> None:
    """With the protocol's own error body: one sentence."""
    response = client.post(f"{MODEL}/infer", json=body)
    assert response.status_code == 422
    assert set(response.json()) == {"error"}
    assert "refused" in response.json()["error"]


@pytest.mark.parametrize("path", ["/v2/models/other", f"{MODEL}/versions/8", "/v2/nothing"])
def test_another_model_is_not_found(client: TestClient, path: str) -> None:
    """404, in the same form."""
    response = client.get(path)
    assert response.status_code == 404
    assert isinstance(response.json()["error"], str)


def test_server_and_model_are_described(client: TestClient) -> None:
    """Names, types and shapes, for clients that ask before they send."""
    assert client.get("/v2").json()["name"] == "mlref"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get(f"{MODEL}/ready").json() == {"name": "rents", "ready": True}
    about = client.get(f"{MODEL}/versions/7").json()
    assert about["versions"] == ["7"]
    assert [one["datatype"] for one in about["inputs"]] == ["FP64", "FP64", "BYTES", "FP64"]
    assert [one["name"] for one in about["outputs"]] == ["value", "lower", "upper"]
