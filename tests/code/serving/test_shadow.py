"""A second model that scores the same rows and answers nobody."""

import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi.testclient import TestClient

from mlref.bundle.predictor import Predictor
from mlref.serving import shadow
from mlref.serving.app import create_app
from mlref.serving.model import Model, Service
from mlref.serving.request import Limits
from mlref.serving.shadow import Shadow
from tests.code.serving.conftest import Memory
from tests.fakes import CONTRACT, write_bundle

ROW = {"instances": [CONTRACT.example, CONTRACT.example]}


@pytest.fixture
def other(tmp_path: Path) -> Model:
    """A model whose predictions are 5 higher."""
    predictor = Predictor(tmp_path, write_bundle(tmp_path, base=5.0))
    return Model(predictor, {"version": 8}, Limits())


def test_the_shadow_scores_what_was_answered_and_hands_on_what_was_refused(
    memory: Memory, model: Model, other: Model
) -> None:
    with closing(Shadow(memory, other)) as log:
        client = TestClient(create_app(Service(model, log)))
        answer = client.post("/v1/predict", json=ROW).json()
        client.post("/v1/predict", json={"instances": [{}]})
    one, two = memory.predicted
    assert len(memory.refused) == 1
    assert answer["model"]["version"] == 7
    assert (one.role, two.role) == ("champion", "shadow")
    assert (one.model.version, two.model.version) == ("7", "8")
    assert list(one.ids) == list(two.ids) == [each["id"] for each in answer["predictions"]]
    assert one.value.tolist() == [each["value"] for each in answer["predictions"]]
    np.testing.assert_array_equal(two.value, other.predictor.predict(one.rows).value)
    assert (two.value != one.value).all() and two.latency is None


def test_a_shadow_that_became_the_champion_is_not_scored_twice(
    memory: Memory, model: Model
) -> None:
    with closing(Shadow(memory, model)) as log:
        TestClient(create_app(Service(model, log))).post("/v1/predict", json=ROW)
    assert [one.role for one in memory.predicted] == ["champion"]


def test_a_shadow_that_fails_harms_nobody(memory: Memory, model: Model, other: Model) -> None:

    def fail(rows: object) -> None:
        raise ValueError("a bug")

    other.predictor = SimpleNamespace(predict=fail, contract=other.contract)
    with closing(Shadow(memory, other)) as log:
        client = TestClient(create_app(Service(model, log)))
        statuses = [client.post("/v1/predict", json=ROW).status_code for _ in range(3)]
    assert statuses == [200] * 3
    assert [one.role for one in memory.predicted] == ["champion"] * 3


def test_a_shadow_that_is_too_slow_leaves_rows_out(
    memory: Memory, model: Model, other: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    predict = other.predictor.predict

    def slow(rows: np.ndarray) -> object:
        go.wait(10)
        return predict(rows)

    other.predictor = SimpleNamespace(predict=slow, contract=other.contract)
    monkeypatch.setattr(shadow, "CAPACITY", 2)
    with closing(Shadow(memory, other)) as log:
        client = TestClient(create_app(Service(model, log)))
        for _ in range(8):
            client.post("/v1/predict", json=ROW)
        assert log.dropped in (10, 12)  # one is being scored, or not yet
        go.set()
    assert [one.role for one in memory.predicted].count("shadow") == 8 - log.dropped // 2
    assert [one.role for one in memory.predicted].count("champion") == 8
