"""Promotion and rollback: one pointer, a reason, and a line in the audit trail."""

import threading
from pathlib import Path
from typing import Any

import pytest

from mlref.bundle.store import Store
from mlref.core.errors import BundleError, EnvironmentFault, GateBlocked, MlrefError
from mlref.core.storage import Project, digest, write_json
from mlref.registry import audit
from mlref.registry import promote as promotion
from mlref.registry import register, tables
from mlref.registry.promote import promote, rollback
from mlref.tracking.store import open_store
from tests.projects import Rivals, adopt

WHY = "She has seen both."


@pytest.fixture
def project(project_of_three: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Version 1, the champion; version 2, as good; version 3, worse; to change, without MLflow."""
    monkeypatch.setattr(promotion, "sync_aliases", lambda *_: None)
    return project_of_three


def champion(project: Project) -> str:
    """Version of the champion, as the service opens it."""
    _, record = Store(project.store).open("champion")
    return str(record["version"])


def last(project: Project) -> dict[str, Any]:
    """The last line of the audit trail."""
    return audit.read(Store(project.store))[-1]


def shown(project: Project) -> str:
    """The champion's version in MLflow."""
    with open_store(project) as client:
        return str(client.get_model_version_by_alias("rents", "champion").version)


def change(project: Project, version: str, **changed: Any) -> None:
    """Change the registration record of a version."""
    store = Store(project.store)
    record = store.record(store.resolve(version))
    assert record
    write_json(project.store / f"{record['digest']}.json", record | changed)


def contents(project: Project) -> dict[str, str]:
    """Digest of every file of the store and of MLflow's database."""
    files = [project.root / "mlflow.db", *project.store.rglob("*")]
    return {str(path): digest(path) for path in files if path.is_file()}


def test_registering_leaves_a_line_for_each_verdict(three: Project) -> None:
    entries = audit.read(Store(three.store))
    assert [(e["action"], e["version"]) for e in entries] == [
        ("promote", "1"), ("keep", "2"), ("block", "3"),
    ]  # fmt: skip
    assert entries[0]["from"] is None and entries[2]["from"] == entries[0]["digest"]
    assert "It is worse than the champion by" in entries[2]["reason"]
    assert not any(entry["forced"] for entry in entries)


@pytest.mark.parametrize(
    ("version", "given", "error", "words"),
    [
        ("3", {"reason": WHY}, GateBlocked, "worse than the champion by(?s:.*)--force --reason TEXT"),
        ("3", {"force": True}, MlrefError, "--force needs --reason"),
        ("2", {"force": True, "reason": "  "}, MlrefError, "--force needs --reason"),
        ("2", {}, MlrefError, "would keep the champion(?s:.*) is not shown to be better .*\n.*--reason"),
    ],
)  # fmt: skip
def test_a_promotion_without_grounds_is_refused(
    project: Project, version: str, given: dict[str, Any], error: type[MlrefError], words: str
) -> None:
    before = contents(project)
    with pytest.raises(error, match=words):
        promote(project, version, **given)
    assert contents(project) == before


def test_a_worse_model_is_promoted_by_force(project: Project) -> None:
    before = Store(project.store).alias("champion")
    said = promote(project, "challenger", WHY, force=True)
    assert said.startswith("Version 3 (ridge) is the champion.")
    entry = last(project)
    assert (champion(project), entry["action"], entry["version"]) == ("3", "promote", "3")
    assert (entry["reason"], entry["from"], entry["forced"]) == (WHY, before, True)
    promote(project, "1")  # a better model needs no reason
    assert champion(project) == "1"
    assert " the champion" in last(project)["reason"] and " beats " in last(project)["reason"]


def test_a_tie_is_promoted_for_a_reason(project: Project) -> None:
    promote(project, "2", WHY)
    assert (champion(project), last(project)["reason"]) == ("2", WHY)
    assert not last(project)["forced"]


@pytest.mark.parametrize("call", [promote, rollback])
def test_a_damaged_bundle_does_not_become_champion(project: Project, call: Any) -> None:
    promote(project, "2", WHY)
    (project.store / Store(project.store).resolve("1") / "model.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match="model.onnx was altered"):
        promote(project, "1", WHY, force=True) if call is promote else rollback(project)
    assert champion(project) == "2"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"created": "2020-01-01T00:00:00+00:00"}, r"Its evaluation is \d+ days old; allowed: 90"),
        ({"metrics": {}}, "The evaluation is of another .*: the bundle changed"),
    ],
    ids=["old", "none"],
)
def test_an_evaluation_that_does_not_count_blocks(
    project: Project, changed: dict[str, Any], words: str
) -> None:
    change(project, "2", **changed)
    with pytest.raises(GateBlocked, match=words):
        promote(project, "2", WHY)


def test_a_dry_run_changes_nothing(project: Project) -> None:
    before = contents(project)
    said = promote(project, "3", WHY, force=True, dry_run=True)
    assert said.startswith("Version 3 (") and said.endswith("nothing is changed.")
    assert contents(project) == before


def test_rollbacks_bring_back_the_champions_before_one_by_one(project: Project) -> None:
    promote(project, "2", WHY)
    promote(project, "3", WHY, force=True)
    before = contents(project)
    assert rollback(project, dry_run=True).startswith(
        "Version 2 (elastic_net) would be the champion"
    )
    assert contents(project) == before
    assert rollback(project, "complaints").startswith("Version 2 (elastic_net) is the champion.")
    assert (champion(project), last(project)["action"]) == ("2", "rollback")
    assert last(project)["reason"] == "complaints"
    now = contents(project)
    changed = {Path(name).name for name in now if now[name] != before[name]}
    assert changed == {"champion", "audit.jsonl"}
    rollback(project)
    assert champion(project) == "1"
    with pytest.raises(MlrefError, match="knows no champion before this one. `mlref models` lists"):
        rollback(project)


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("where", ["audit.note", "promote.Store.point", "promote.sync_aliases"])
@pytest.mark.parametrize("back", [False, True], ids=["promote", "rollback"])
def test_a_crash_is_mended_by_running_it_again(
    project: Project, monkeypatch: pytest.MonkeyPatch, where: str, back: bool
) -> None:
    if back:
        promote(project, "2", WHY)
    lines = len(audit.read(Store(project.store)))

    def crash(*_: Any) -> None:
        raise Crash

    def act() -> None:
        rollback(project, WHY) if back else promote(project, "2", WHY)

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(f"mlref.registry.{where}", crash)
        act()
    if not (back and where == "promote.sync_aliases"):
        act()
    else:  # it is done but for MLflow; once more would go back a step further
        promote(project, "1")
    assert champion(project) == ("1" if back else "2")
    assert len(audit.read(Store(project.store))) == lines + 1


def test_mlflow_shows_the_champion_and_without_it_the_champion_changes_all_the_same(
    project_of_three: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_of_three

    def away(*_: Any) -> None:
        raise EnvironmentFault("MLflow at http://x failed", OSError(111, "Connection refused"))

    with monkeypatch.context() as patch:
        patch.setattr(promotion, "sync_aliases", away)
        said = promote(project, "2", WHY)
    assert "MLflow does not show it yet: MLflow at http://x failed: Connection refused" in said
    assert (champion(project), shown(project)) == ("2", "1")
    assert promote(project, "2").startswith("Version 2 (elastic_net) is the champion.")
    assert shown(project) == "2"
    rollback(project)
    assert shown(project) == "1"


def test_two_at_once_wait_for_one_another(project: Project) -> None:
    threads = [threading.Thread(target=promote, args=(project, v, WHY, True)) for v in ("2", "3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one, other = audit.read(Store(project.store))[-2:]
    assert {one["version"], other["version"]} == {"2", "3"}
    assert other["from"] == one["digest"] and champion(project) == other["version"]


@pytest.mark.usefixtures("without_mlflow")
def test_what_a_person_decided_stays_when_the_model_is_registered_again(
    project: Project, rivals: Rivals
) -> None:
    promote(project, "3", WHY, force=True)
    record, is_champion = register.run(project)
    assert (record["version"], record["gate"]["verdict"], is_champion) == ("3", "block", True)
    assert "Since then the champion was changed" in tables.advice(record, is_champion)
    adopt(project, rivals["better"])
    register.run(project)
    assert champion(project) == "4"
    rollback(project)
    record, is_champion = register.run(project)
    assert (champion(project), record["gate"]["verdict"], is_champion) == ("3", "promote", False)
    assert "Since then the champion was changed" in tables.advice(record, is_champion)
