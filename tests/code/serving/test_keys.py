"""Who may ask."""

import hashlib

import pytest
from fastapi.testclient import TestClient

from mlref.bundle.predictor import Predictor
from mlref.cli import main
from mlref.errors import SettingsError
from mlref.serving.app import create_app
from mlref.serving.keys import Keys, new_key
from tests.fakes import CONTRACT

PREDICT, PREDICT_ENTRY = new_key("predict")
ADMIN, ADMIN_ENTRY = new_key("admin")
REQUEST = {"instances": [CONTRACT.example]}


@pytest.fixture(scope="module")
def closed(predictor: Predictor) -> TestClient:
    """A service with one key of each role."""
    keys = Keys(f"{PREDICT_ENTRY}, {ADMIN_ENTRY}")
    return TestClient(create_app(predictor, {"version": 1}, keys=keys))


@pytest.mark.parametrize(
    ("header", "predicts", "scrapes"),
    [
        (None, 401, 401),
        (f"Bearer {PREDICT}", 200, 403),
        (f"bearer {ADMIN}", 200, 200),
        (f"Bearer {PREDICT}x", 401, 401),
        (f"Basic {PREDICT}", 401, 401),
        (f"Bearer {PREDICT_ENTRY.partition(':')[2]}", 401, 401),
        ("Bearer", 401, 401),
        ("Bearer ", 401, 401),
    ],
    ids=["no key", "predict", "admin", "longer", "other scheme", "digest", "no word", "empty"],
)
def test_a_key_opens_what_its_role_may(
    closed: TestClient, header: str | None, predicts: int, scrapes: int
) -> None:
    """Predictions for both roles, metrics for the admin; the digest of a key opens nothing."""
    headers = {"authorization": header} if header else {}
    response = closed.post("/v1/predict", json=REQUEST, headers=headers)
    assert response.status_code == predicts
    assert (predicts == 401) == (response.headers.get("www-authenticate") == "Bearer")
    assert closed.get("/metrics", headers=headers).status_code == scrapes


@pytest.mark.parametrize(
    "path", ["/health/live", "/health/ready", "/docs", "/openapi.json", "/swagger/swagger-ui.css"]
)
def test_a_balancer_and_a_browser_need_none(closed: TestClient, path: str) -> None:
    """They have no key to send, and nothing of value comes back."""
    assert closed.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/v1/model", "/nothing", "/v1/predict/", "/swagger"])
def test_everything_else_is_closed(closed: TestClient, path: str) -> None:
    """Also what there is not: which addresses there are is not told either."""
    assert closed.get(path).status_code == 401


def test_without_keys_everybody_may_ask(client: TestClient) -> None:
    """As on loopback by default."""
    assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize("entry", ["predict", "root:" + "0" * 64, "admin:" + "G" * 64, ","])
def test_an_entry_that_is_none_is_refused_by_its_place(entry: str) -> None:
    """Never by what it holds: somebody may have pasted the key itself."""
    with pytest.raises(SettingsError, match="entry 2: must be ROLE:DIGEST") as refusal:
        Keys(f"{PREDICT_ENTRY},{entry}")
    assert entry == "," or entry not in str(refusal.value).replace("roles: predict, admin", "")


def test_the_command_prints_a_key_and_its_entry(capsys: pytest.CaptureFixture[str]) -> None:
    """The entry is the digest of the key."""
    assert main(["keys", "new", "predict"]) == 0
    first, second = (line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines())
    assert second == f"predict:{hashlib.sha256(first.encode()).hexdigest()}"
    Keys(second).check(f"Bearer {first}".encode(), "predict")


def test_a_role_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With those that there are."""
    assert main(["keys", "new", "root"]) == 1
    assert "There is no role 'root'; allowed: predict, admin." in capsys.readouterr().err
