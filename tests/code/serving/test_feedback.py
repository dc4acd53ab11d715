"""`POST /v1/feedback`: what turned out true, by the id of the prediction."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from mlref.core.errors import EnvironmentFault
from mlref.core.storage import Project
from mlref.prediction_log import ground_truth
from mlref.prediction_log.database import Database
from mlref.prediction_log.writer import open_log
from mlref.serving import feedback as feedback_route
from mlref.serving.app import create_app
from mlref.serving.metrics import LogMetrics
from mlref.serving.model import Model, Service
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
    [one] = logged.post("/v1/predict", json=ROW).json()["predictions"]
    label = {"id": one["id"], "value": 850, "observed_at": "2026-11-24T12:00:00Z", "source": "deed"}
    nobody = {"id": "01a20d6d-5a00-7000-8000-000000000000", "value": 1}
    counts = {"accepted": 0, "duplicate": 0, "conflicting": 0, "unknown": 0}
    assert send(logged, label, nobody) == counts | {"accepted": 1, "unknown": 1}
    assert send(logged, label, label) == counts | {"duplicate": 2}
    assert send(logged, label | {"value": 851}) == counts | {"conflicting": 1}


def test_a_label_that_breaks_the_contract_is_refused_and_is_no_prediction(
    logged: TestClient,
) -> None:
    error = send(logged, {"id": "a", "value": 1}, {"id": "a", "value": "850"}, "a")["error"]
    assert error["code"] == "rows_refused"
    assert [(one["instance"], one["column"]) for one in error["details"]] == [
        (1, "value"),
        (2, None),
    ]
    assert "model_input_invalid_total{" not in logged.get("/metrics").text
    for body in (b"{}", b"[]", b'{"labels": []}', b'{"labels": [1], "more": 1}', b"{"):
        answer = logged.post("/v1/feedback", content=body)
        assert answer.status_code in (400, 422) and answer.json()["error"]["message"]


BODY = {"labels": [{"id": "a", "value": 850}]}


def test_without_a_log_there_is_no_feedback(shared: TestClient) -> None:
    answer = shared.post("/v1/feedback", json=BODY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_a_log_that_is_away_and_a_service_that_stops_ask_to_send_the_labels_again(
    model: Model,
) -> None:
    def store(labels: Any) -> dict[str, list[str]]:
        raise EnvironmentFault("the database db.example.org", OSError("refused"))

    service = Service(model)
    client = TestClient(create_app(service, store=store))
    for draining in (False, True):
        service.draining = draining
        answer = client.post("/v1/feedback", json=BODY)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"]["code"] == "log_away"
        assert "example" not in answer.text


def test_feedback_has_a_bound_of_its_own_and_predictions_go_on(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback_route, "PATIENCE", 0.05)
    go = threading.Event()

    def hang(labels: Any) -> dict[str, list[str]]:
        go.wait(30)
        return {"accepted": [], "duplicate": [], "conflicting": [], "unknown": []}

    with TestClient(create_app(Service(model), store=hang)) as client:
        try:
            answers = [
                client.post("/v1/feedback", json=BODY) for _ in range(model.limits.labels + 1)
            ]
            assert [one.status_code for one in answers] == [503] * len(answers)
            assert answers[0].json()["error"]["code"] == "log_away"
            assert 'requests_shed_total{reason="labels"} 1.0' in client.get("/metrics").text
            assert client.post("/v1/predict", json=ROW).status_code == 200
        finally:
            go.set()


def test_prometheus_sees_how_the_log_fares(logged: TestClient) -> None:
    logged.post("/v1/predict", json=ROW)
    send(logged, {"id": "a", "value": 850})  # waits until the prediction is written
    text = logged.get("/metrics").text
    assert "prediction_log_written_total 1.0" in text
    assert "prediction_log_dropped_total 0.0" in text
    assert "prediction_log_rejected_total 0.0" in text
    assert "prediction_log_queue_length 0.0" in text
