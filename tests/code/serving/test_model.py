"""A model is changed without a restart, or the change is refused and the present one goes on."""

import asyncio
import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from mlref.bundle.predictor import MANIFEST
from mlref.bundle.store import Store
from mlref.core.storage import digest, write_bytes, write_json
from mlref.serving import model as module
from mlref.serving.app import create_app
from mlref.serving.model import Model, Service, Watch
from mlref.serving.request import Limits
from tests.fakes import BASE, CONTRACT, CONTRACT_TEXT, linear, write_bundle, write_store

ROW = [70.5, 3, 1, 4]
REQUEST = {"instances": [CONTRACT.example]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store whose champion is version 1."""
    write_store(tmp_path)
    return Store(tmp_path)


@pytest.fixture
def watch(store: Store) -> Watch:
    """A watch over a service of that champion."""
    return Watch(Service(Model(*store.open("champion"), Limits())), store, "champion")


def look(watch: Watch) -> list[Any]:
    """Look once; what was logged."""
    with capture_logs() as logs:
        asyncio.run(watch.look())
    return logs


def answer(watch: Watch) -> tuple[Any, float]:
    """Version and value of an answer."""
    body = TestClient(create_app(watch.holder)).post("/v1/predict", json=REQUEST).json()
    return body["model"]["version"], body["predictions"][0]["value"]


def test_a_promoted_model_answers_from_the_next_request_on(watch: Watch, store: Store) -> None:
    assert answer(watch) == (1, pytest.approx(linear(ROW)))
    fresh = write_store(store.folder, base=5.0, version=2)
    [line] = look(watch)
    assert (line["event"], line["version"], line["digest"]) == ("model changed", 2, fresh)
    assert answer(watch) == (2, pytest.approx(linear(ROW) - BASE + 5))
    client = TestClient(create_app(watch.holder))
    assert client.get("/v1/model").json()["model"]["digest"] == fresh
    assert client.get("/v2/models/rents").json()["versions"] == ["2"]
    infos = [
        line for line in client.get("/metrics").text.splitlines() if line.startswith("model_info{")
    ]
    assert len(infos) == 1 and 'version="2"' in infos[0]


def test_an_unchanged_pointer_costs_a_look(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "open_model", None)
    assert look(watch) == []


def test_a_pointer_that_is_gone_changes_nothing(watch: Watch, store: Store) -> None:
    (store.folder / "champion").unlink()
    assert look(watch) == []
    assert answer(watch)[0] == 1


def altered(store: Store) -> None:
    """A champion one of whose files is another than registered."""
    name = write_store(store.folder, base=5.0, version=2)
    path = store.folder / name / "intervals.json"
    path.write_text(path.read_text().replace("80", "9"))


def pickled(store: Store) -> None:
    """A champion whose model is a pickle, with a digest that fits."""
    replaced(store, "model.onnx", pickle.dumps({"model": 1}))


def of_another_contract(store: Store) -> None:
    """A champion whose contract allows more."""
    text = CONTRACT_TEXT.replace("valid: [5, 1000]", "valid: [5, 2000]")
    replaced(store, "contract.yaml", text.encode())


def wrong_by_its_golden_rows(store: Store) -> None:
    """A champion that computes something else than when it was packaged."""
    golden = {"rows": [[70.0, 3.0, 1.0, 4.0]], "values": [1e6], "tolerance": 1e-6}
    replaced(store, "golden.json", json.dumps(golden).encode())


def without_a_record(store: Store) -> None:
    """A pointer to a bundle that is not registered."""
    (store.folder / f"{write_store(store.folder, base=5.0, version=2)}.json").unlink()


def nonsense(store: Store) -> None:
    """A pointer that holds no digest."""
    write_bytes(store.folder / "champion", b"../../etc\n")


def replaced(store: Store, file: str, content: bytes) -> None:
    """Register a bundle in which one file, and with it the manifest, was replaced."""
    folder = store.folder / "fresh"
    write_bundle(folder, base=5.0)
    (folder / file).write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][file] = digest(content)
    manifest["contract"] = manifest["files"]["contract.yaml"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    name = digest(folder / MANIFEST)
    folder.rename(store.folder / name)
    write_json(store.folder / f"{name}.json", {"digest": name, "version": 2, "metrics": {}})
    write_bytes(store.folder / "champion", f"{name}\n".encode())


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (altered, "intervals.json was altered"),
        (pickled, "model.onnx"),
        (of_another_contract, "Version 2 is of another contract than version 1"),
        (wrong_by_its_golden_rows, "golden rows values that are off by 9.99e"),
        (without_a_record, "record .* is missing"),
        (nonsense, "missing"),
    ],
)
def test_a_bad_candidate_is_refused_and_the_present_model_goes_on(
    watch: Watch, store: Store, plant: Any, reason: str
) -> None:
    plant(store)
    [line] = look(watch)
    assert (line["event"], line["log_level"], line["kept"]) == ("model refused", "error", "1")
    assert re.search(reason, line["reason"])
    assert look(watch) == []
    assert answer(watch) == (1, pytest.approx(linear(ROW)))
    write_store(store.folder, base=7.0, version=3)
    look(watch)
    assert answer(watch)[0] == 3


def test_whatever_a_candidate_fails_with_the_watch_goes_on(
    watch: Watch, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_store(store.folder, base=5.0, version=2)
    monkeypatch.setattr(module, "Model", lambda *_: 1 / 0)
    [line] = look(watch)
    assert (line["event"], line["kept"]) == ("model refused", "1")


def test_a_version_or_digest_is_for_good(watch: Watch, store: Store) -> None:
    fixed = Watch(watch.holder, store, "1")
    asyncio.run(asyncio.wait_for(fixed.run(), timeout=30))


def test_an_alias_is_followed_while_the_service_runs(
    watch: Watch, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY", 0.0)

    async def follow() -> None:
        task = asyncio.create_task(watch.run())
        for version in (2, 3):
            write_store(store.folder, base=float(version), version=version)
            while watch.holder.model.version != str(version):
                await asyncio.sleep(0)
        task.cancel()

    asyncio.run(asyncio.wait_for(follow(), timeout=60))


def test_a_request_that_has_begun_is_of_one_version(watch: Watch, store: Store) -> None:
    service = watch.holder
    first = service.model
    read = first.reader.read

    class Late:
        """Reads, and has the model replaced meanwhile."""

        def read(self, body: bytes) -> Any:
            write_store(store.folder, base=5.0, version=2)
            service.model = Model(*store.open("champion"), Limits())
            return read(body)

    first.reader = Late()  # type: ignore[assignment]
    assert answer(watch) == (1, pytest.approx(linear(ROW)))
    assert answer(watch) == (2, pytest.approx(linear(ROW) - BASE + 5))
