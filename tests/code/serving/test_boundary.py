"""Request ids, and failures of our own."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from mlref.core.errors import BundleError
from mlref.serving.app import create_app
from mlref.serving.service import Service
from tests.fakes import CONTRACT

REQUEST = {"instances": [CONTRACT.example]}


class Broken:
    """Stands for a predictor that fails on every row."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def predict(self, rows: Any) -> None:
        """Fail."""
        raise self.error


@pytest.mark.parametrize("path", ["/v1/predict", "/v2/models/rents/infer"])
@pytest.mark.parametrize(
    "error", [BundleError("/srv/secret broke"), ValueError("/srv/secret broke"), RecursionError()]
)
def test_a_failure_of_ours_says_nothing_about_itself(
    service: Service, error: Exception, path: str
) -> None:
    """500 with a neutral sentence; the trace is in the log, under the request id; at any address."""
    service.model.predictor = Broken(error)  # type: ignore[assignment]
    client = TestClient(create_app(service))
    [body] = service.model.schema["components"]["schemas"]["InferRequest"]["examples"]
    sent = body if "infer" in path else {"instances": [CONTRACT.example]}
    with capture_logs() as logs:
        response = client.post(path, json=sent, headers={"x-request-id": "abc-1"})
    assert response.status_code == 500
    assert "The service failed" in response.text
    assert response.headers["x-request-id"] == "abc-1"
    assert "secret" not in response.text and "Traceback" not in response.text
    [line] = logs
    assert (line["log_level"], line["request_id"], line["exc_info"]) == ("error", "abc-1", error)


@pytest.mark.parametrize("sent", ["abc", "7f3a.B-2_x", "a" * 128])
def test_a_well_formed_request_id_is_kept(client: TestClient, sent: str) -> None:
    """One id runs through the logs of all services."""
    response = client.get("/health/live", headers={"x-request-id": sent})
    assert response.headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", "a b", "<script>", "a" * 129, "é", "a;b"])
def test_a_malformed_request_id_is_replaced(client: TestClient, sent: str) -> None:
    """What goes into logs and answers is never free text."""
    response = client.get("/health/live", headers={"x-request-id": sent.encode("latin-1")})
    assert len(response.headers["x-request-id"]) == 32


def test_each_request_without_an_id_gets_its_own(client: TestClient) -> None:
    """Ids differ."""
    assert len({client.get("/health/live").headers["x-request-id"] for _ in range(3)}) == 3
