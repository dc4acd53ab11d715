"""A model is changed without a restart, or the change is refused and the present one goes on."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from mlref.bundle.store import Store
from mlref.serving import model as module
from mlref.serving.app import create_app
from mlref.serving.model import Model, Service, Watch
from mlref.serving.request import Limits
from tests.fakes import BASE, CONTRACT, WIDER, linear, write_store

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


def test_a_pointer_that_is_gone_or_unchanged_changes_nothing(
    watch: Watch, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "open_model", None)  # an unchanged one costs only a look
    assert look(watch) == []
    (store.folder / "champion").unlink()
    assert look(watch) == []
    assert answer(watch)[0] == 1


def altered(folder: Path) -> None:
    """A champion one of whose files is another than registered."""
    path = folder / write_store(folder, base=5.0, version=2) / "intervals.json"
    path.write_text(path.read_text().replace("80", "9"))


def of_another_contract(folder: Path) -> None:
    """A champion whose contract allows more."""
    write_store(folder, base=5.0, version=2, contract=WIDER)


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (altered, "intervals.json was altered"),
        (of_another_contract, "Version 2 is of another contract than version 1"),
    ],
)
def test_a_bad_candidate_is_refused_and_the_present_model_goes_on(
    watch: Watch, store: Store, plant: Any, reason: str
) -> None:
    plant(store.folder)
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


def test_an_alias_is_followed_while_the_service_runs_and_a_version_is_for_good(
    watch: Watch, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY", 0.0)

    async def follow() -> None:
        await Watch(watch.holder, store, "1").run()
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

    first.reader = Late()
    assert answer(watch) == (1, pytest.approx(linear(ROW)))
    assert answer(watch) == (2, pytest.approx(linear(ROW) - BASE + 5))
