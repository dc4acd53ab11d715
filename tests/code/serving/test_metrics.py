"""What is counted, and how it is told."""

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from mlref.bundle.predictor import Predictor
from mlref.serving.metrics import ValueHistograms
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

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(client: TestClient) -> Samples:
    """All samples, as Prometheus reads them."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in read_text(client.get("/metrics").text)
        for sample in family.samples
    }


def value(found: Samples, sample: str, /, **labels: str) -> float:
    """One sample."""
    return found[sample, frozenset(labels.items())]


def outcomes(found: Samples) -> list[float]:
    """Rows answered, refused and failed."""
    kinds = ("answered", "refused", "failed")
    return [value(found, "model_predictions_total", outcome=kind) for kind in kinds]


def test_the_names_are_those_of_the_dashboards_in_both_formats(client: TestClient) -> None:
    client.post("/v1/predict", json={"instances": [ROW]})
    lines = client.get("/metrics").text.splitlines()
    types = dict(line.split()[2:] for line in lines if line.startswith("# TYPE"))
    assert {name: kind for name, kind in types.items() if not name.startswith("process_")} == NAMES
    assert "process_resident_memory_bytes" in types
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    response = client.get("/metrics", headers=accept)
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in read_openmetrics(response.text)}
    assert {name.removesuffix("_total") for name in NAMES} <= names


def test_rows_are_counted_by_outcome_and_value(client: TestClient, predictor: Predictor) -> None:
    assert outcomes(scrape(client)) == [0, 0, 0]
    rows = [{**ROW, "heating": "gas"}, {**ROW, "heating": "wood", "balcony": None}]
    client.post("/v1/predict", json={"instances": rows})
    client.post("/v1/predict", json={"instances": [ROW, {**ROW, "area": "70"}]})
    client.post("/invocations", json={"instances": [{**ROW, "heating": "gas"}]})
    found = scrape(client)
    assert outcomes(found) == [3, 1, 0]
    buckets = [
        value(found, "model_feature_value_bucket", feature="heating", le=end)
        for end in ("0", "1", "2", "+Inf")
    ]
    assert buckets == [2, 2, 3, 3]
    assert value(found, "model_feature_value_count", feature="balcony") == 2
    assert value(found, "model_feature_value_sum", feature="rooms") == 9
    assert value(found, "model_prediction_value_count") == 3
    named = {"name": "rents", "version": "7", "digest": predictor.digest}
    assert value(found, "model_info", **named) == 1
    assert value(found, "model_loaded_timestamp_seconds") > 1.7e9


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
    found = {key[1]: count for key, count in scrape(client).items() if "invalid" in key[0]}
    assert found == {frozenset({("feature", feature), ("reason", reason)}): 2}


def test_requests_are_timed_by_method_route_and_status(client: TestClient) -> None:
    for method, path, route, status in (
        ("POST", "/v1/predict", "/v1/predict", "422"),
        ("GET", "/v1/predict", "/v1/predict", "405"),
        ("GET", "/health/live", "/health/live", "200"),
        ("GET", "/v2/models/rents", "/v2/models/{name}", "200"),
        ("GET", "/v2/models/rents/versions/8", "/v2/models/{name}/versions/{version}", "404"),
        ("GET", "/made/up", "other", "404"),
    ):
        client.request(method, path, json={})
        labels = {
            "http_request_method": method,
            "http_response_status_code": status,
            "http_route": route,
        }
        found = scrape(client)
        assert value(found, "http_server_request_duration_seconds_count", **labels) == 1
        bucket = "http_server_request_duration_seconds_bucket"
        assert value(found, bucket, **labels, le="5e-05") <= 1


@pytest.mark.parametrize("times", [1, 600])
def test_a_bucket_holds_its_upper_end_a_training_quantile_and_null_is_not_counted(
    times: int,
) -> None:
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
    rooms = [found["bucket", "rooms", end] for end in ("1", "8", "+Inf")]  # no quantiles: expected
    rent = [found["bucket", None, end] for end in ("0", "+Inf")]
    assert (area, found["sum", "area", None], rooms) == ([2, 3, 4], 12, [5, 5, 5])
    assert (rent, found["sum", None, None]) == ([3, 4], 1)
