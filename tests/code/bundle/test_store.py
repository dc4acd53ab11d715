"""The bundle store: digests, records and pointers."""

from pathlib import Path
from typing import Any

import pytest

from mlref.bundle import store as stores
from mlref.bundle.predictor import MANIFEST
from mlref.bundle.store import Store
from mlref.core.errors import BundleError, EnvironmentFault, ModelNotFound
from mlref.core.storage import write_json
from tests.fakes import write_bundle, write_store


def record(digest: str, version: Any = "1") -> dict[str, Any]:
    """A registration record."""
    return {"digest": digest, "version": version}


def with_records(folder: Path, *digests: str) -> Store:
    """A store that knows these digests as versions 1, 2, …"""
    for number, digest in enumerate(digests, start=1):
        write_json(folder / f"{digest}.json", record(digest, str(number)))
    return Store(folder)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two models; the second is the challenger."""
    made = with_records(tmp_path, "a1" * 32, "b2" * 32)
    made.point("champion", "a1" * 32)
    made.point("challenger", "b2" * 32)
    return made


def test_a_model_has_a_version_an_alias_and_a_digest(store: Store) -> None:
    """Six digits of the digest are enough."""
    for reference in ("1", "champion", "a1" * 32, "a1a1a1", "a1a1a1a"):
        assert store.resolve(reference) == "a1" * 32
    for reference in ("2", "challenger", "b2b2b2"):
        assert store.resolve(reference) == "b2" * 32


@pytest.mark.parametrize(
    "reference",
    ["3", "0", "b2b2b", "c3c3c3", "A1A1A1", "", "b" * 65, "champ", "../champion", "b2*"],
)
def test_what_names_no_model_is_refused_with_what_there_is(store: Store, reference: str) -> None:
    """The message lists aliases and versions."""
    with pytest.raises(ModelNotFound, match="It has: champion, challenger, 1, 2"):
        store.resolve(reference)


def test_a_reference_with_two_meanings_is_refused(tmp_path: Path) -> None:
    """A start that two digests share, and a version that also starts a digest."""
    one, other, third = "abcdef1" + "0" * 57, "abcdef2" + "0" * 57, "123456" + "b" * 58
    store = with_records(tmp_path, one, other, third)
    write_json(tmp_path / f"{'a' * 64}.json", record("a" * 64, "123456"))
    for reference in ("abcdef", "123456"):
        with pytest.raises(ModelNotFound, match=reference):
            store.resolve(reference)
    assert store.resolve("abcdef2") == other


def test_an_empty_store_says_what_to_run(tmp_path: Path) -> None:
    """Also where the folder does not exist."""
    with pytest.raises(ModelNotFound, match="It is empty: run `make train` first"):
        Store(tmp_path / "store").resolve("champion")


def test_a_pointer_to_a_model_that_is_not_registered_is_refused(store: Store) -> None:
    """Without its record a model does not count, and the sentence says what is missing."""
    store.point("champion", "c3" * 32)
    with pytest.raises(BundleError, match=r"champion points to c3.*record c3.* is missing"):
        store.resolve("champion")


def test_records_come_by_version_as_numbers(tmp_path: Path) -> None:
    """Version 10 comes after version 9."""
    store = with_records(tmp_path, *(f"{number:064x}" for number in range(11)))
    assert [found["version"] for found in store.records()] == [str(n) for n in range(1, 12)]


def test_of_a_pointer_that_is_none_little_is_read(store: Store) -> None:
    (store.folder / "champion").write_text("a1" * 500_000)
    assert store.alias("champion") == "a1" * 100


def test_a_pointer_is_replaced_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in between leaves the earlier one; to point to the same model again writes nothing."""
    before = sorted(path.name for path in store.folder.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mlref.core.storage.os.fsync", full)
    store.point("champion", "a1" * 32)
    with pytest.raises(EnvironmentFault, match="champion cannot be written: No space left"):
        store.point("champion", "b2" * 32)
    assert store.alias("champion") == "a1" * 32
    assert sorted(path.name for path in store.folder.iterdir()) == before


def test_the_record_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is there, the model is not registered."""
    digest = write_bundle(tmp_path / "bundle")
    (tmp_path / "model.skops").write_bytes(b"model")
    store = Store(tmp_path / "store")

    def crash(path: Path, value: object) -> None:
        assert (store.folder / digest / MANIFEST).is_file()
        assert (store.folder / f"{digest}.skops").read_bytes() == b"model"
        assert store.rows(digest) == {"a"}
        raise RuntimeError("crash")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="crash"):
        patch.setattr(stores, "write_json", crash)
        store.add(tmp_path / "bundle", tmp_path / "model.skops", record(digest), ["a"])
    assert store.records() == [] and store.record(digest) is None
    store.add(tmp_path / "bundle", tmp_path / "model.skops", record(digest))
    assert store.record(digest) == record(digest)
    assert store.resolve("1") == digest


def test_adding_again_replaces_a_damaged_copy(tmp_path: Path) -> None:
    """Without the model's file no record is written."""
    digest = write_bundle(tmp_path / "bundle")
    store = Store(tmp_path / "store")
    with pytest.raises(EnvironmentFault, match="No such file"):
        store.add(tmp_path / "bundle", tmp_path / "model.skops", record(digest))
    assert store.records() == []
    (tmp_path / "model.skops").write_bytes(b"model")
    store.add(tmp_path / "bundle", tmp_path / "model.skops", record(digest))
    (store.folder / digest / "model.onnx").write_bytes(b"damaged")
    store.add(tmp_path / "bundle", tmp_path / "model.skops", record(digest))
    predictor, found = store.open(digest)
    assert (predictor.digest, found) == (digest, record(digest))


def test_the_rows_that_a_model_was_trained_on_are_remembered(tmp_path: Path) -> None:
    """Once each; registering it again without them forgets nothing."""
    digest, store = write_bundle(tmp_path / "bundle"), Store(tmp_path / "store")
    (tmp_path / "model.skops").write_bytes(b"model")
    assert store.rows(digest) is None
    for rows in (["b", "a", "b"], ()):
        store.add(tmp_path / "bundle", tmp_path / "model.skops", record(digest), rows)
        assert store.rows(digest) == {"a", "b"}
    assert (store.folder / f"{digest}.rows").read_text() == "a\nb\n"


def test_opening_checks_the_bundle_against_its_digest(tmp_path: Path) -> None:
    """Another sound bundle in its folder is not the one that was registered."""
    digest = write_store(tmp_path)
    write_bundle(tmp_path / digest, base=7.0)
    with pytest.raises(BundleError, match=f"{MANIFEST} was altered: it is not {digest[:12]}"):
        Store(tmp_path).open("champion")
