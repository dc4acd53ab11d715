"""`POST /v1/feedback`: what turned out true, by the id of the prediction."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from mlref.core.errors import EnvironmentFault
from mlref.core.storage import Project
from mlref.prediction_log import ground_truth
from mlref.prediction_log.database import Database
from mlref.prediction_log.open import open_log
from mlref.serving.app import create_app
from mlref.serving.metrics import LogMetrics
from mlref.serving.service import Model, Service
from tests.fakes import CONTRACT

ROW = {"instances": [CONTRACT.example]}


@pytest.fixture
def logged(model: Model, tmp_path: Path) -> Iterator[TestClient]:
    """A service with a real log."""
    project = Project(tmp_path)
    with open_log(project) as log:
        database = Database.of(project)

        def store(labels: Any) -> dict[str, list[str]]:
            log.flush(10)
            return vars(ground_truth.add(database, labels))

        service = Service(model, log)
        service.metrics.registry.register(LogMetrics(log))
        yield TestClient(create_app(service, store=store), raise_server_exceptions=False)
        database.close()


def send(client: TestClient, *labels: Any) -> Any:
    """Send labels, and give the answer's content."""
    return client.post("/v1/feedback", json={"labels": [*labels]}).json()


def test_each_label_is_counted_once(logged: TestClient) -> None:
    """Accepted, then duplicate; another value conflicts, and an id that nobody knows is unknown."""
    [one] = logged.post("/v1/predict", json=ROW).json()["predictions"]
    label = {"id": one["id"], "value": 850, "observed_at": "2026-11-24T12:00:00Z", "source": "deed"}
    nobody = {"id": "01a20d6d-5a00-7000-8000-000000000000", "value": 1}
    counts = {"accepted": 0, "duplicate": 0, "conflicting": 0, "unknown": 0}
    assert send(logged, label, nobody) == counts | {"accepted": 1, "unknown": 1}
    assert send(logged, label, label) == counts | {"duplicate": 2}
    assert send(logged, label | {"value": 851}) == counts | {"conflicting": 1}


@pytest.mark.parametrize(
    ("label", "column"),
    [
        ({"id": "a", "value": "850"}, "value"),
        ({"id": "a", "value": 99_999}, "value"),
        ({"id": "", "value": 850}, "id"),
        ({"value": 850}, "id"),
        ({"id": "a", "value": 850, "observed_at": "yesterday"}, "observed_at"),
        ({"id": "a", "value": 850, "note": "x"}, "note"),
        ("a", None),
    ],
)
def test_a_label_that_breaks_the_contract_is_refused(
    logged: TestClient, label: Any, column: str | None
) -> None:
    """As a whole request, with its place; it is no input of the model, and not counted as one."""
    error = send(logged, label)["error"]
    assert error["code"] == "rows_refused"
    assert [(one["instance"], one["column"]) for one in error["details"]] == [(0, column)]
    assert "model_input_invalid_total{" not in logged.get("/metrics").text


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'{"labels": []}', b'{"labels": [1], "more": 1}', b"{"]
)
def test_another_form_is_refused(logged: TestClient, body: bytes) -> None:
    """With the one error body."""
    answer = logged.post("/v1/feedback", content=body)
    assert answer.status_code in (400, 422) and answer.json()["error"]["message"]


def test_without_a_log_there_is_no_feedback(client: TestClient) -> None:
    """404, as documented."""
    answer = client.post("/v1/feedback", json={"labels": [{"id": "a", "value": 850}]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_a_log_that_is_away_asks_to_send_the_labels_again(model: Model) -> None:
    """503 with the seconds to wait; nothing of the database is told."""

    def store(labels: Any) -> dict[str, list[str]]:
        raise EnvironmentFault("the database db.example.org", OSError("refused"))

    client = TestClient(create_app(Service(model), store=store))
    answer = client.post("/v1/feedback", json={"labels": [{"id": "a", "value": 850}]})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "log_away"
    assert "example" not in answer.text


def test_prometheus_sees_how_the_log_fares(logged: TestClient) -> None:
    """What is written, dropped and waits."""
    logged.post("/v1/predict", json=ROW)
    send(logged, {"id": "a", "value": 850})  # waits until the prediction is written
    text = logged.get("/metrics").text
    assert "prediction_log_written_total 1.0" in text
    assert "prediction_log_dropped_total 0.0" in text
    assert "prediction_log_queue_length 0.0" in text
