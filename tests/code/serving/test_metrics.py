"""What is counted, and how it is told."""

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from mlref.bundle.predictor import Predictor
from mlref.serving.metrics import Metrics, ValueHistograms
from mlref.serving.model import Service
from tests.fakes import CONTRACT

ROW = CONTRACT.example
NAMES = {
    "http_server_request_duration_seconds": "histogram",
    "model_feature_value": "histogram",
    "model_info": "gauge",
    "model_input_invalid_total": "counter",
    "model_loaded_timestamp_seconds": "gauge",
    "model_prediction_value": "histogram",
    "model_predictions_total": "counter",
    "requests_shed_total": "counter",
}
"""What dashboards and alerts are written against."""

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(client: TestClient) -> Samples:
    """All samples, as Prometheus reads them."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in read_text(client.get("/metrics").text)
        for sample in family.samples
    }


def test_the_names_are_those_of_the_dashboards(client: TestClient) -> None:
    lines = client.get("/metrics").text.splitlines()
    types = dict(line.split()[2:] for line in lines if line.startswith("# TYPE"))
    ours = {name: kind for name, kind in types.items() if not name.startswith("process_")}
    assert ours == NAMES
    assert "process_resident_memory_bytes" in types


def test_rows_are_counted_by_outcome(client: TestClient) -> None:
    outcomes = {
        outcome: ("model_predictions_total", (("outcome", outcome),))
        for outcome in ("answered", "refused", "failed")
    }
    before = scrape(client)
    assert [before[key] for key in outcomes.values()] == [0, 0, 0]
    client.post("/v1/predict", json={"instances": [ROW, ROW]})
    client.post("/v1/predict", json={"instances": [ROW, {**ROW, "area": "70"}]})
    client.post("/invocations", json={"instances": [ROW]})
    after = scrape(client)
    assert [after[key] for key in outcomes.values()] == [3, 1, 0]


def test_a_failure_of_ours_is_counted(service: Service, client: TestClient) -> None:
    service.model.predictor = None  # type: ignore[assignment]
    assert client.post("/v1/predict", json={"instances": [ROW]}).status_code == 500
    assert scrape(client)["model_predictions_total", (("outcome", "failed"),)] == 1


@pytest.mark.parametrize(
    ("change", "feature", "reason"),
    [
        ({"area": "70"}, "area", "type"),
        ({"area": True}, "area", "type"),
        ({"area": [70]}, "area", "type"),
        ({"area": None}, "area", "null"),
        ({"rooms": 99}, "rooms", "range"),
        ({"heating": "dung"}, "heating", "category"),
        ({"made up": 1}, "other", "unknown"),
        ({f"key {'k' * 99}": 1}, "other", "unknown"),
    ],
)
def test_refused_values_are_counted_by_column_and_reason(
    client: TestClient, change: dict[str, object], feature: str, reason: str
) -> None:
    client.post("/v1/predict", json={"instances": [{**ROW, **change}, {**ROW, **change}]})
    found = {key[1]: value for key, value in scrape(client).items() if "invalid" in key[0]}
    assert found == {(("feature", feature), ("reason", reason)): 2}


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("POST", "/v1/predict", "/v1/predict", "422"),
        ("GET", "/v1/predict", "/v1/predict", "405"),
        ("GET", "/health/live", "/health/live", "200"),
        ("GET", "/v2/models/rents", "/v2/models/{name}", "200"),
        ("GET", "/v2/models/rents/versions/8", "/v2/models/{name}/versions/{version}", "404"),
        ("GET", "/made/up", "other", "404"),
    ],
)
def test_requests_are_timed_by_route_and_status(
    client: TestClient, method: str, path: str, route: str, status: str
) -> None:
    client.request(method, path, json={})
    labels = (
        ("http_request_method", method),
        ("http_response_status_code", status),
        ("http_route", route),
    )
    found = scrape(client)
    assert found["http_server_request_duration_seconds_count", labels] == 1
    first = ("http_server_request_duration_seconds_bucket", (*labels, ("le", "5e-05")))
    assert first in found


def test_the_model_in_use_is_told(client: TestClient, predictor: Predictor) -> None:
    found = scrape(client)
    assert (
        found["model_info", (("digest", predictor.digest), ("name", "rents"), ("version", "7"))]
        == 1
    )
    assert found["model_loaded_timestamp_seconds", ()] > 1.7e9


def test_values_fall_into_buckets(client: TestClient) -> None:
    rows = [{**ROW, "heating": "gas"}, {**ROW, "heating": "wood", "balcony": None}]
    client.post("/v1/predict", json={"instances": rows})
    found = scrape(client)
    heating = [
        found["model_feature_value_bucket", (("feature", "heating"), ("le", end))]
        for end in ("0", "1", "2", "+Inf")
    ]
    assert heating == [1, 1, 2, 2]
    assert found["model_feature_value_count", (("feature", "balcony"),)] == 1
    assert found["model_feature_value_sum", (("feature", "rooms"),)] == 6
    assert found["model_prediction_value_count", ()] == 2


def test_buckets_are_the_training_quantiles() -> None:
    profile = {"columns": {"area": {"quantiles": {"0.05": 30.5, "0.5": 70, "0.95": 150}}}}
    [family] = [
        family
        for family in Metrics(CONTRACT, profile).registry.collect()
        if family.name == "model_feature_value"
    ]
    ends: dict[str, list[str]] = {}
    for sample in family.samples:
        if "le" in sample.labels:
            ends.setdefault(sample.labels["feature"], []).append(sample.labels["le"])
    assert ends["area"] == ["30.5", "70", "150", "+Inf"]
    assert ends["rooms"] == ["1", "8", "+Inf"]


@pytest.mark.parametrize("times", [1, 600])
def test_a_bucket_holds_its_upper_end_and_null_is_not_counted(times: int) -> None:
    quantiles = {"area": {"1": 1.0, "2": 2.0, "3": 2.0}, "rent": {"1": 0.0}}
    profile = {"columns": {name: {"quantiles": ends} for name, ends in quantiles.items()}}
    histograms = ValueHistograms(CONTRACT, profile)
    pairs = [[0.5, 0], [1.0, 1], [1.5, np.nan], [9.0, 0], [np.nan, 0]]
    rows = np.array([[area, 1, 0, 0, rent] for area, rent in pairs])
    histograms.add(np.tile(rows, (times, 1)))
    samples = [one for family in histograms.collect() for one in family.samples]
    found = {
        (s.name.rpartition("_")[2], s.labels.get("feature"), s.labels.get("le")): s.value / times
        for s in samples
    }
    area = [found["bucket", "area", end] for end in ("1", "2", "+Inf")]
    rent = [found["bucket", None, end] for end in ("0", "+Inf")]
    assert (area, found["sum", "area", None]) == ([2, 3, 4], 12)
    assert (rent, found["sum", None, None]) == ([3, 4], 1)


def test_openmetrics_is_given_to_who_asks(client: TestClient) -> None:
    client.post("/v1/predict", json={"instances": [ROW]})
    response = client.get(
        "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in read_openmetrics(response.text)}
    assert {name.removesuffix("_total") for name in NAMES} <= names
