"""What the monitor left is shown: its page under a strict policy, its results as series."""

import base64
import hashlib
import json

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mlref.core.errors import EnvironmentFault
from mlref.serving.app import create_app
from mlref.serving.keys import ApiKeys
from mlref.serving.model import Service
from mlref.serving.monitor import MonitorMetrics

PAGE = "<!doctype html><title>Rents</title><style>p { color: red }</style><p>quiet</p>"
RESULTS = {
    "run": 1e9, "labelled": None, "lag": 60.0, "coverage": 0.5, "loss": 54.1, "expected": 53.9,
    "drift": {"area": 1.2}, "alarms": {"page": 1, "ticket": 0},
}  # fmt: skip
SERIES = {
    "run_timestamp_seconds", "label_timestamp_seconds", "label_lag_seconds", "label_coverage_ratio",
    "loss", "expected_loss", "drift_ratio", "open_alarms",
}  # fmt: skip


def away(name: str) -> str:
    """A database that cannot be reached."""
    raise EnvironmentFault("The prediction log cannot be used", OSError("no route"))


def of(service: Service, show: object, keys: ApiKeys | None = None) -> TestClient:
    """A client of a service whose monitor left something."""
    app: FastAPI = create_app(service, keys, show=show)
    return TestClient(app, raise_server_exceptions=False)


def test_the_page_is_shown_under_a_policy_that_allows_its_style_alone(service: Service) -> None:
    answer = of(service, {"page": PAGE}.get).get("/monitor")
    assert answer.text == PAGE and answer.headers["content-type"].startswith("text/html")
    style = base64.b64encode(hashlib.sha256(b"p { color: red }").digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert policy == f"default-src 'none'; frame-ancestors 'none'; style-src 'sha256-{style}'"


def test_before_the_first_run_it_says_so(client: TestClient) -> None:
    answer = client.get("/monitor")
    assert answer.status_code == 200 and "run <code>mlref monitor</code>" in answer.text


def test_a_database_that_is_away_is_said(service: Service) -> None:
    answer = of(service, away).get("/monitor")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "log_away")


@pytest.mark.parametrize("content", [None, '{"drift": {}}', json.dumps(RESULTS), "broken"])
def test_every_series_is_there_from_the_start(content: str | None) -> None:
    metrics, registry = MonitorMetrics({"metrics": content}.get), CollectorRegistry()
    registry.register(metrics)
    found = {
        one.name: one for one in text_string_to_metric_families(generate_latest(registry).decode())
    }
    assert found.keys() == {f"model_monitor_{name}" for name in SERIES}
    alarms = {
        one.labels["severity"]: one.value for one in found["model_monitor_open_alarms"].samples
    }
    known = content == json.dumps(RESULTS)
    assert alarms == ({"page": 1, "ticket": 0} if known else {"page": 0, "ticket": 0})
    if known:
        [drift] = found["model_monitor_drift_ratio"].samples
        assert (drift.labels, drift.value) == ({"feature": "area"}, 1.2)
        assert found["model_monitor_label_timestamp_seconds"].samples == []


def test_results_stay_while_the_database_is_away() -> None:
    shown = {"show": {"metrics": json.dumps(RESULTS)}.get}
    metrics = MonitorMetrics(lambda name: shown["show"](name))
    assert [*metrics.collect()]
    shown["show"] = away
    values = {one.name: [s.value for s in one.samples] for one in metrics.collect()}
    assert values["model_monitor_loss"] == [54.1]
