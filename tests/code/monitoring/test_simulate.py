"""Traffic is seeded, possible, and asks a service as clients do."""

import io
import json
import urllib.error
from typing import Any

import numpy as np
import pytest

from mlref.core.contract import parse
from mlref.core.errors import EnvironmentFault, MlrefError
from mlref.monitoring.commands import Scenario
from mlref.monitoring.reference import Reference
from mlref.monitoring.simulate import SCENARIOS, jittered, moved, simulate, to_service
from mlref.prediction_log.reader import stream_labels
from tests.code.monitoring.conftest import Service, quiet_rows, write_model
from tests.fakes import CONTRACT, CONTRACT_TEXT


def test_the_command_offers_every_scenario() -> None:
    assert Scenario.__args__ == tuple(SCENARIOS)


def sent(service: Service, scenario: str, seed: int) -> list[Any]:
    """What is posted."""
    posted: list[Any] = []

    def send(path: str, document: Any) -> Any:
        posted.append(json.dumps(document))
        if path == "/v1/predict" and document:
            answer = service(path, document)
            known = enumerate(answer.get("predictions", ()), len(posted) * 1000)
            return answer | {"predictions": [one | {"id": str(n)} for n, one in known]}
        return service(path, document) if path == "/v1/model" else {"accepted": 0}

    simulate(service.project, scenario, send, 60, seed)
    return posted


def test_the_same_seed_sends_the_same(service: Service) -> None:
    assert sent(service, "noise", 1) == sent(service, "noise", 1) != sent(service, "noise", 2)


def test_the_truth_is_of_the_world_that_was_asked_for_whoever_answers(service: Service) -> None:
    """Else a new champion would never be wrong."""
    write_model(service.project, version=2, off=5000)
    service.reload()
    off = {}
    for world in ("1", None):
        simulate(service.project, "none", service, 50, 3, world)
        chunks = stream_labels(service.log.database, CONTRACT)
        off[world] = np.mean([np.mean((one.label - one.chunk.value)[-50:]) for one in chunks])
    assert abs(off["1"] + 5000) < 200 > abs(off[None])


def test_rows_are_training_rows_with_a_little_jitter(known: Reference) -> None:
    training = quiet_rows(50)
    made = jittered(np.random.default_rng(0), known, training, 500)
    assert made.shape == (500, 4)
    near = np.abs(made[:, None, 0] - training[None, :, 0]).min(axis=1)
    assert 0 < near.max() < known.numbers["area"].std / 2
    assert {*made[:, 1]} <= {*training[:, 1]}  # whole numbers stay whole
    assert np.isnan(made[:, 3]).mean() == pytest.approx(np.isnan(training[:, 3]).mean(), abs=0.1)


def test_a_contract_without_numbers_has_nothing_to_move() -> None:
    text = CONTRACT_TEXT.split("features:")[0] + """features:
  - {name: heating, title: Heating, meaning: Heat., type: category, allowed: [gas, oil], example: gas}
"""
    with pytest.raises(MlrefError, match="no feature of type number"):
        moved(parse(text))


@pytest.mark.parametrize(("code", "answered"), [(422, True), (401, False), (503, False)])
def test_a_refusal_is_an_answer_and_a_failure_is_said(
    code: int, answered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*_: Any, **__: Any) -> Any:
        raise urllib.error.HTTPError("http://x", code, "no", {}, io.BytesIO(b'{"error": {}}'))

    monkeypatch.setattr("urllib.request.urlopen", answer)
    send = to_service("http://127.0.0.1:1/", "key")
    if answered:
        assert send("/v1/predict", {}) == {"error": {}}
    else:
        with pytest.raises(EnvironmentFault, match="--key"):
            send("/v1/predict", {})


def test_a_service_that_is_not_there_is_said() -> None:
    with pytest.raises(EnvironmentFault, match="mlref serve"):
        to_service("http://127.0.0.1:9")("/v1/model", None)
