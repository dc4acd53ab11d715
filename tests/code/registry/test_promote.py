"""Promotion and rollback: one pointer, a reason, and a line in the audit trail."""

import threading
from pathlib import Path
from typing import Any

import pytest

from mlref.bundle.store import Store
from mlref.core.errors import BundleError, EnvironmentFault, GateBlocked, MlrefError
from mlref.core.storage import Project, digest, write_json
from mlref.registry import audit, register, tables
from mlref.registry.promote import promote, rollback
from mlref.tracking.store import open_store
from tests.projects import Rivals, adopt

WHY = "She has seen both."


@pytest.fixture
def project(project_of_three: Project) -> Project:
    """Version 1, the champion; version 2, as good; version 3, worse; to change."""
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


def test_a_worse_model_is_not_promoted(project: Project) -> None:
    before = contents(project)
    with pytest.raises(GateBlocked) as refusal:
        promote(project, "3", WHY)
    assert "It is worse than the champion by" in str(refusal.value)
    assert str(refusal.value).endswith("--force --reason TEXT, which the audit trail keeps.")
    assert contents(project) == before


def test_a_worse_model_is_promoted_by_force_with_a_reason(project: Project) -> None:
    before = Store(project.store).alias("champion")
    assert promote(project, "3", WHY, force=True).startswith("Version 3 (ridge) is the champion.")
    assert champion(project) == shown(project) == "3"
    entry = last(project)
    assert (entry["action"], entry["version"], entry["forced"]) == ("promote", "3", True)
    assert (entry["reason"], entry["from"]) == (WHY, before)


@pytest.mark.parametrize("reason", ["", "  "])
@pytest.mark.parametrize("version", ["2", "3"])
def test_force_needs_a_reason(project: Project, version: str, reason: str) -> None:
    with pytest.raises(MlrefError, match="--force needs --reason"):
        promote(project, version, reason, force=True)
    assert champion(project) == "1"


def test_a_tie_is_promoted_for_a_reason_only(project: Project) -> None:
    with pytest.raises(MlrefError, match="(?s)would keep the champion.* cannot tell .* --reason"):
        promote(project, "2")
    assert champion(project) == "1"
    promote(project, "2", WHY)
    assert champion(project) == "2"
    assert (last(project)["reason"], last(project)["forced"]) == (WHY, False)


def test_a_better_model_needs_no_reason(project: Project) -> None:
    promote(project, "3", WHY, force=True)
    promote(project, "1")
    assert champion(project) == "1"
    assert "It beats the champion by" in last(project)["reason"]


@pytest.mark.parametrize("reference", ["challenger", "{digest}", "{start}"])
def test_a_model_is_named_by_version_alias_or_digest(project: Project, reference: str) -> None:
    name = Store(project.store).resolve("3")
    promote(project, reference.format(digest=name, start=name[:8]), WHY, force=True)
    assert champion(project) == "3"


@pytest.mark.parametrize("call", [promote, rollback])
def test_a_damaged_bundle_does_not_become_champion(project: Project, call: Any) -> None:
    promote(project, "2", WHY)
    (project.store / Store(project.store).resolve("1") / "model.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match="model.onnx was altered"):
        promote(project, "1", WHY, force=True) if call is promote else rollback(project)
    assert champion(project) == "2"


def test_an_old_evaluation_does_not_count(project: Project) -> None:
    change(project, "2", created="2020-01-01T00:00:00+00:00")
    with pytest.raises(GateBlocked, match=r"Its evaluation is \d+ days old; allowed: 90"):
        promote(project, "2", WHY)


def test_an_evaluation_of_another_bundle_does_not_count(project: Project) -> None:
    store = Store(project.store)
    other = store.record(store.resolve("1"))
    assert other
    change(project, "2", metrics=other["metrics"])
    with pytest.raises(GateBlocked, match="The evaluation is of another .*: the bundle changed"):
        promote(project, "2", WHY)


def test_a_record_of_an_earlier_mlref_is_said_to_be_one(project: Project) -> None:
    change(project, "2", params={})
    with pytest.raises(BundleError, match="record of version 2 does not say which rows"):
        promote(project, "2", WHY)


@pytest.mark.parametrize(("version", "error"), [("2", MlrefError), ("3", GateBlocked)])
def test_without_rows_the_recorded_verdict_counts(
    project: Project, version: str, error: type[MlrefError]
) -> None:
    project.validated.unlink()
    with pytest.raises(error, match="cannot tell it from|It is worse than"):
        promote(project, version)
    promote(project, "2", WHY)
    with pytest.raises(MlrefError, match="no rows here on which to compare"):
        promote(project, "1")


def test_a_model_that_was_never_evaluated_is_not_promoted(project: Project) -> None:
    change(project, "2", metrics={})
    with pytest.raises(MlrefError, match="The evaluation has no coverage, .* Run `make train`"):
        promote(project, "2", WHY, force=True)


@pytest.mark.parametrize("version", ["1", "2", "3"])
def test_a_dry_run_changes_nothing(project: Project, version: str) -> None:
    (project.store / ".lock").unlink()
    before = contents(project)
    said = promote(project, version, WHY, force=True, dry_run=True)
    assert said.startswith(f"Version {version} (") and said.endswith("nothing is changed.")
    assert contents(project) == before


def test_a_rollback_brings_back_the_champion_before(project: Project) -> None:
    store = Store(project.store)
    first, _ = store.open("champion")
    promote(project, "3", WHY, force=True)
    others = {name: d for name, d in contents(project).items() if "/store/" in name}
    assert rollback(project, "complaints").startswith("Version 1 (elastic_net) is the champion.")
    assert store.open("champion")[0].digest == first.digest
    assert champion(project) == shown(project) == "1"
    assert (last(project)["action"], last(project)["reason"]) == ("rollback", "complaints")
    now = {name: d for name, d in contents(project).items() if "/store/" in name}
    changed = {Path(name).name for name in now if now[name] != others[name]}
    assert changed == {"champion", "audit.jsonl"}


def test_a_second_rollback_goes_back_further(project: Project) -> None:
    promote(project, "2", WHY)
    promote(project, "3", WHY, force=True)
    rollback(project)
    assert champion(project) == "2"
    rollback(project)
    assert champion(project) == "1"
    with pytest.raises(MlrefError, match="knows no champion before this one. `mlref models` lists"):
        rollback(project)


def test_a_rollback_can_be_rehearsed(project: Project) -> None:
    promote(project, "2", WHY)
    before = contents(project)
    said = rollback(project, dry_run=True)
    assert said == "Version 1 (elastic_net) would be the champion. Dry run: nothing is changed."
    assert contents(project) == before


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize(
    "where",
    ["audit.note", "promote.Store.point", "promote.sync_aliases"],
    ids=["line", "pointer", "mirror"],
)
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
    wanted = "1" if back else "2"
    assert champion(project) == shown(project) == wanted
    assert len(audit.read(Store(project.store))) == lines + 1


def test_without_mlflow_the_champion_changes_all_the_same(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise EnvironmentFault("MLflow at http://x failed", OSError(111, "Connection refused"))

    with monkeypatch.context() as patch:
        patch.setattr("mlref.registry.promote.sync_aliases", away)
        said = promote(project, "2", WHY)
    assert "MLflow does not show it yet: MLflow at http://x failed: Connection refused" in said
    assert (champion(project), shown(project)) == ("2", "1")
    assert promote(project, "2").startswith("Version 2 (elastic_net) is the champion.")
    assert shown(project) == "2"


def test_two_at_once_wait_for_one_another(project: Project) -> None:
    threads = [threading.Thread(target=promote, args=(project, v, WHY, True)) for v in ("2", "3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one, other = audit.read(Store(project.store))[-2:]
    assert {one["version"], other["version"]} == {"2", "3"}
    assert other["from"] == one["digest"] and champion(project) == other["version"]


def test_a_forced_champion_does_not_stop_the_pipeline(project: Project) -> None:
    promote(project, "3", WHY, force=True)
    record, is_champion = register.run(project)
    assert (record["version"], record["gate"]["verdict"], is_champion) == ("3", "block", True)
    assert "Since then the champion was changed" in tables.advice(record, is_champion)


def test_a_champion_that_was_rolled_back_stays_so(project: Project, rivals: Rivals) -> None:
    adopt(project, rivals["better"])
    promote(project, "3", WHY, force=True)
    register.run(project)
    assert champion(project) == "4"
    rollback(project)
    record, is_champion = register.run(project)
    assert champion(project) == "3"
    assert (record["gate"]["verdict"], is_champion) == ("promote", False)
    assert "Since then the champion was changed" in tables.advice(record, is_champion)
