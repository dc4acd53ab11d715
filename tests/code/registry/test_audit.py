"""The audit trail: lines are added, never changed, and survive a crash."""

import json
from pathlib import Path
from typing import Any

import pytest

from mlref.bundle.store import Store
from mlref.core.errors import EnvironmentFault
from mlref.registry.audit import FILE, earlier_champion, note, read


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty bundle store."""
    return Store(tmp_path)


def model(name: str) -> dict[str, Any]:
    """A registration record, as far as the trail reads it."""
    return {"digest": name, "version": "1"}


def do(store: Store, *steps: str) -> None:
    """Take steps such as ``promote a``: note it, and point the champion to it."""
    for step in steps:
        action, name = step.split()
        note(store, action, model(name), "planted")
        if action in ("promote", "rollback"):
            store.point("champion", name)


def test_a_line_says_who_did_what_when_and_why(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    do(store, "promote a")
    note(store, "promote", {"digest": "b", "version": "2"}, "naïve\nbut mine", forced=True)
    first, second = read(store)
    assert first["from"] is None
    assert second["at"].endswith("+00:00")
    assert second | {"at": ""} == {
        "at": "", "who": "ada", "action": "promote", "version": "2", "digest": "b", "from": "a",
        "reason": "naïve\nbut mine", "forced": True, "since": None,
    }  # fmt: skip


def test_lines_are_added_and_never_changed(store: Store) -> None:
    before = b""
    for step in ("promote a", "keep b", "promote b", "rollback a"):
        do(store, step)
        after = (store.folder / FILE).read_bytes()
        assert after.startswith(before) and after.count(b"\n") == before.count(b"\n") + 1
        before = after


def test_what_the_last_line_says_is_not_said_twice(store: Store) -> None:
    note(store, "promote", model("a"), "first")
    note(store, "promote", model("a"), "again")
    assert [entry["reason"] for entry in read(store)] == ["first"]


@pytest.mark.parametrize("torn", ['{"at": "2026', '{"at": "2026-11-24", "who": "x"\n'])
def test_a_line_that_was_cut_off_is_passed_over(store: Store, torn: str) -> None:
    do(store, "promote a")
    with (store.folder / FILE).open("a") as file:
        file.write(torn)
    assert [entry["digest"] for entry in read(store)] == ["a"]
    do(store, "promote b")
    assert [entry["digest"] for entry in read(store)] == ["a", "b"]
    assert json.loads((store.folder / FILE).read_text().splitlines()[-1])["from"] == "a"


def test_a_trail_that_cannot_be_written_is_a_fault_of_the_environment(store: Store) -> None:
    (store.folder / FILE).mkdir()
    with pytest.raises(EnvironmentFault, match="audit.jsonl cannot be written"):
        note(store, "promote", model("a"), "")


@pytest.mark.parametrize(
    ("steps", "earlier"),
    [
        ([], None),
        (["promote a"], None),
        (["promote a", "promote b"], "a"),
        (["promote a", "promote b", "keep c", "block d"], "a"),
        (["promote a", "promote b", "promote c", "rollback b"], "a"),
        (["promote a", "promote b", "promote c", "rollback b", "rollback a"], None),
        (["promote a", "promote b", "rollback a", "promote c"], "a"),
        (["promote a", "promote b", "promote a"], "b"),
        (["promote a", "promote a", "promote b"], "a"),
        (["rollback a"], None),
    ],
    ids=str,
)
def test_the_champion_before_the_present_one(
    store: Store, steps: list[str], earlier: str | None
) -> None:
    do(store, *steps)
    assert earlier_champion(store) == earlier


@pytest.mark.parametrize("intent", ["promote c", "rollback a"])
def test_what_was_noted_and_not_done_does_not_count(store: Store, intent: str) -> None:
    do(store, "promote a", "promote b")
    note(store, intent.split()[0], model(intent.split()[1]), "crash")
    assert earlier_champion(store) == "a"
