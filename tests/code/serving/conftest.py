"""A service on a small bundle of its own."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from mlref.bundle.predictor import Predictor
from mlref.serving.app import create_app
from mlref.serving.boundary import Boundary
from tests.fakes import write_bundle

RECORD = {"version": 7, "digest": "…", "metrics": {"rmse": {"value": 54.1}}}


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A loaded bundle."""
    folder: Path = tmp_path_factory.mktemp("bundle")
    return Predictor(folder, write_bundle(folder))


@pytest.fixture(scope="session")
def app(predictor: Predictor) -> Boundary:
    """The application around it, which keeps no state between requests."""
    return create_app(predictor, RECORD)


@pytest.fixture(scope="session")
def client(app: Boundary) -> TestClient:
    """A client that shows what a user of the service would get, also of our own mistakes."""
    return TestClient(app, raise_server_exceptions=False)
