"""What is counted, and how it is told."""

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from mlref.bundle.predictor import Predictor
from mlref.serving.app import create_app
from mlref.serving.metrics import Tally
from tests.fakes import CONTRACT

ROW = CONTRACT.example
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def fresh(predictor: Predictor) -> TestClient:
    """A service that nobody has asked yet."""
    return TestClient(create_app(predictor, {"version": 7}))


def scrape(client: TestClient) -> Samples:
    """All samples, as Prometheus reads them."""
    text = client.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_answers_and_refusals_are_counted(fresh: TestClient, predictor: Predictor) -> None:
    """Rows by outcome, values by column and reason, requests by route and status."""
    fresh.post("/v1/predict", json={"instances": [ROW, ROW]})
    bad = {**ROW, "area": "70", "rooms": 99, "heating": "dung", "made up": 1}
    del bad["balcony"]
    fresh.post("/v1/predict", json={"instances": [ROW, bad]})
    fresh.get("/nothing")
    found = scrape(fresh)
    assert found["model_predictions_total", (("outcome", "answered"),)] == 2
    assert found["model_predictions_total", (("outcome", "refused"),)] == 1
    reasons = {
        "area": "type",
        "rooms": "range",
        "heating": "category",
        "balcony": "missing",
        "": "unknown",
    }
    for feature, why in reasons.items():
        labels = (("feature", feature), ("reason", why))
        assert found["model_input_invalid_total", labels] == 1
    route = (("method", "POST"), ("route", "/v1/predict"), ("status", "422"))
    assert found["http_server_request_duration_seconds_count", route] == 1
    other = (("method", "GET"), ("route", "other"), ("status", "404"))
    assert found["http_server_request_duration_seconds_count", other] == 1
    model = (("digest", predictor.digest), ("name", "rents"), ("version", "7"))
    assert found["model_info", model] == 1
    assert found["model_loaded_timestamp_seconds", ()] > 1.7e9


def test_values_fall_into_buckets(fresh: TestClient) -> None:
    """A category by its index, a null nowhere."""
    rows = [{**ROW, "heating": "gas"}, {**ROW, "heating": "wood", "balcony": None}]
    fresh.post("/v1/predict", json={"instances": rows})
    found = scrape(fresh)
    heating = [
        found["model_feature_value_bucket", (("feature", "heating"), ("le", end))]
        for end in ("0", "1", "2", "+Inf")
    ]
    assert heating == [1, 1, 2, 2]
    assert found["model_feature_value_count", (("feature", "balcony"),)] == 1
    assert found["model_feature_value_sum", (("feature", "rooms"),)] == 6
    assert found["model_prediction_value_count", ()] == 2


def test_a_bucket_holds_its_upper_end() -> None:
    """As Prometheus defines `le`; what waits is sorted before it is too much."""
    tally = Tally({"x": [1.0, 2.0]})
    tally.add(np.array([[0.5], [1.0], [1.5], [9.0], [np.nan]]))
    tally.add(np.full((Tally.MOST, 1), 2.0))
    assert tally.buckets("x") == [("1", 2), ("2", 3 + Tally.MOST), ("+Inf", 4 + Tally.MOST)]
    assert tally.sums["x"] == 12 + 2 * Tally.MOST
