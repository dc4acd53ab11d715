"""A service on a small bundle of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient

from mlref.bundle.predictor import Predictor
from mlref.prediction_log.records import Predicted, Refused
from mlref.serving.app import create_app
from mlref.serving.model import Model, Service
from mlref.serving.request import Limits
from tests.fakes import write_bundle


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """What one test sets up for logs writes to a stream that is closed for the next."""
    yield
    structlog.reset_defaults()


RECORD = {"version": 7, "digest": "…", "metrics": {"rmse": {"value": 54.1}}}


class Memory:
    """A log that remembers."""

    def __init__(self) -> None:
        self.predicted: list[Predicted] = []
        self.refused: list[Refused] = []

    def predictions(self, predicted: Predicted) -> None:
        """Remember answered rows."""
        self.predicted.append(predicted)

    def refusals(self, refused: Refused) -> None:
        """Remember a refusal."""
        self.refused.append(refused)


@pytest.fixture
def memory() -> Memory:
    """A fresh log."""
    return Memory()


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A loaded bundle."""
    folder: Path = tmp_path_factory.mktemp("bundle")
    return Predictor(folder, write_bundle(folder))


@pytest.fixture
def model(predictor: Predictor) -> Model:
    """The bundle as the service takes it."""
    return Model(predictor, RECORD, Limits())


@pytest.fixture
def service(model: Model) -> Service:
    """What the routes share, without a log."""
    return Service(model)


@pytest.fixture
def app(service: Service) -> FastAPI:
    """The application around it."""
    return create_app(service)


@pytest.fixture(scope="session")
def shared(predictor: Predictor) -> Iterator[TestClient]:
    """A client of a service that no test changes."""
    with TestClient(create_app(Service(Model(predictor, RECORD, Limits())))) as client:
        yield client


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """A client that shows what a user of the service would get, also of our own mistakes."""
    return TestClient(app, raise_server_exceptions=False)
