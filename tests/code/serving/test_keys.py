"""Who may ask."""

import pytest
from fastapi.testclient import TestClient

from mlref.bundle.predictor import Predictor
from mlref.core.errors import SettingsError
from mlref.serving.app import create_app
from mlref.serving.errors import OpenDoor
from mlref.serving.keys import ApiKeys, check_door, new
from mlref.serving.model import Model, Service
from mlref.serving.request import Limits
from tests.fakes import CONTRACT

PREDICT, PREDICT_ENTRY = new("predict")
ADMIN, ADMIN_ENTRY = new("admin")
KEYS = ApiKeys.read({"MLREF_API_KEYS": f"{PREDICT_ENTRY}, {ADMIN_ENTRY}"})
REQUEST = {"instances": [CONTRACT.example]}


@pytest.fixture(scope="module")
def closed(predictor: Predictor) -> TestClient:
    """A service with one key of each role."""
    return TestClient(create_app(Service(Model(predictor, {"version": 7}, Limits())), KEYS))


@pytest.mark.parametrize(
    ("header", "predicts", "scrapes"),
    [
        pytest.param(None, 401, 401, id="no key"),
        pytest.param(f"Bearer {PREDICT}", 200, 403, id="a key to predict"),
        pytest.param(f"bearer {ADMIN}", 200, 200, id="a key of an admin"),
        pytest.param(f"Bearer {PREDICT}x", 401, 401, id="a longer key"),
        pytest.param(f"Bearer {PREDICT[:-1]}", 401, 401, id="a shorter key"),
        pytest.param(f"Basic {PREDICT}", 401, 401, id="another scheme"),
        pytest.param(f"Bearer {PREDICT_ENTRY.partition(':')[2]}", 401, 401, id="the key's hash"),
        pytest.param(f"Bearer {PREDICT_ENTRY}", 401, 401, id="the key's entry"),
        pytest.param(PREDICT, 401, 401, id="no scheme"),
        pytest.param("Bearer", 401, 401, id="a scheme alone"),
        pytest.param("Bearer ", 401, 401, id="an empty key"),
    ],
)
def test_a_key_opens_what_its_role_may(
    closed: TestClient, header: str | None, predicts: int, scrapes: int
) -> None:
    headers = {"authorization": header} if header else {}
    response = closed.post("/v1/predict", json=REQUEST, headers=headers)
    assert response.status_code == predicts and PREDICT not in response.text
    assert (predicts == 401) == (response.headers.get("www-authenticate") == "Bearer")
    response = closed.get("/metrics", headers=headers)
    assert response.status_code == scrapes
    needed = {200: "", 401: "Authorization: Bearer KEY", 403: "a key of the role admin"}[scrapes]
    assert needed in response.text


def test_a_balancer_and_a_browser_need_no_key_and_nobody_else_goes_without(
    closed: TestClient,
) -> None:
    for path in (
        *("/health/live", "/health/ready", "/ping", "/v2/health/live", "/v2/health/ready"),
        *("/", "/page/page.js", "/docs", "/openapi.json", "/swagger/swagger-ui.css"),
    ):
        assert closed.get(path).status_code == 200, path
    for path in (
        *(
            "/v1/model",
            "/version",
            "/v2",
            "/monitor",
            "/v2/models/rents",
            "/nothing",
            "/v1/predict/",
        ),
        *("/swagger", "/health", "/health/live/", "/swagger/%0A", "/docs/x", "/v2/health/live%0A"),
    ):
        assert closed.get(path).status_code == 401, path
    for path in ("/v1/predict", "/invocations", "/v2/models/rents/infer"):
        assert closed.post(path, content=b"{").status_code == 401, path
        headers = {"authorization": f"Bearer {PREDICT}"}
        assert closed.post(path, content=b"{", headers=headers).status_code == 400, path


def test_nobody_without_a_key_takes_a_place(predictor: Predictor) -> None:
    full = Service(Model(predictor, {"version": 7}, Limits(queue=0)))
    client = TestClient(create_app(full, KEYS))
    assert client.post("/v1/predict", json=REQUEST).status_code == 401
    headers = {"authorization": f"Bearer {PREDICT}"}
    assert client.post("/v1/predict", json=REQUEST, headers=headers).status_code == 503


@pytest.mark.parametrize(
    "entry",
    ["predict", PREDICT, "root:" + "0" * 64, "admin:" + "G" * 64, "admin:" + "0" * 63, "Admin:0"],
    ids=["role", "key", "another role", "no hash", "short hash", "capital"],
)
def test_an_entry_that_is_none_is_refused_by_its_place(entry: str) -> None:
    with pytest.raises(SettingsError, match="entry 2: not ROLE:HASH") as refusal:
        ApiKeys.read({"MLREF_API_KEYS": f"{PREDICT_ENTRY},{entry}"})
    assert entry == "predict" or entry not in str(refusal.value)


def test_an_open_door_is_refused_unless_it_has_a_lock_or_a_reason() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org", ""):
        with pytest.raises(OpenDoor) as refusal:
            check_door(host, ApiKeys(), insecure=False)
        for way in ("mlref keys new predict", "MLREF_API_KEYS", "127.0.0.1", "--insecure"):
            assert way in str(refusal.value)
    check_door("0.0.0.0", KEYS, insecure=False)
    check_door("0.0.0.0", ApiKeys(), insecure=True)
    check_door("127.0.0.1", ApiKeys(), insecure=False)


@pytest.mark.parametrize("origins", [(), ("https://app.example.org",)])
def test_pages_of_other_origins_read_answers_only_where_they_are_named(
    service: Service, origins: tuple[str, ...]
) -> None:
    """A browser asks first, without a key; with a wrong one the answer is readable too."""
    client = TestClient(create_app(service, KEYS, origins=origins))
    asked = {"origin": "https://app.example.org", "access-control-request-method": "POST"}
    for response in (
        client.options("/v1/predict", headers=asked),
        client.post("/v1/predict", headers=asked, json={}),
    ):
        allowed = response.headers.get("access-control-allow-origin")
        assert allowed == (origins[0] if origins else None)
    other = client.options("/v1/predict", headers=asked | {"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
