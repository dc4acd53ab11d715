"""The one door to state: idempotent, and mended by running it again."""

import datetime
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from urllib.parse import urlsplit

import pytest

from mlref.bundle.store import Store
from mlref.core.contract import parse
from mlref.core.errors import GateBlocked, MlrefError, ModelNotFound
from mlref.core.storage import Project, digest, read_json, write_json
from mlref.data.tables import read_parquet, row_ids
from mlref.registry import audit, git, register
from mlref.registry.register import Since
from mlref.tracking.store import experiment, open_store
from tests.projects import (
    PARAMS,
    RENTS_TEXT,
    Rivals,
    adopt,
    copy,
    rents,
    retrain,
    run_data,
    set_params,
)

CONTRACT = parse(RENTS_TEXT)


class Crash(BaseException):
    """The process ends here."""


def mlflow_state(project: Project) -> dict[str, Any]:
    """What MLflow holds: live parent runs with their children, versions and aliases."""
    with open_store(project) as client:
        place = experiment(project, client, "rents", "")
        runs = client.search_runs([place])
        versions = client.search_model_versions("name = 'rents'")
        aliases = client.get_registered_model("rents").aliases
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    parents = {run.info.run_id: run for run in runs if run not in children}
    return {
        "parents": [run.info.status for run in parents.values()],
        "children": [run.info.status for run in children],
        "orphans": [run for run in children if run.data.tags["mlflow.parentRunId"] not in parents],
        "versions": {str(version.version): version.tags["digest"] for version in versions},
        "aliases": {alias: str(version) for alias, version in aliases.items()},
    }


def assert_whole(project: Project) -> None:
    """One finished run with its trials, one version, both pointers, in MLflow and in the store."""
    assert mlflow_state(project) == {
        "parents": ["FINISHED"],
        "children": ["FINISHED"] * 4,
        "orphans": [],
        "versions": {"1": register.digest_of(project)},
        "aliases": {"champion": "1", "challenger": "1"},
    }
    _, record = Store(project.store).open("champion")
    with open_store(project) as client:
        assert client.get_run(record["run_id"]).info.status == "FINISHED"
    assert_files_whole(project)


def assert_files_whole(project: Project) -> None:
    """The champion, its record, both pointers, the decision and the cards."""
    name, store = register.digest_of(project), Store(project.store)
    assert [record["digest"] for record in store.records()] == [name]
    assert store.alias("champion") == store.alias("challenger") == name
    predictor, record = store.open("champion")
    assert (predictor.digest, record["version"]) == (name, "1")
    assert record["gate"]["verdict"] == "promote" == read_json(project.gate)["verdict"]
    assert {path.name for path in project.cards.iterdir()} == {"model-card.md", "datasheet.md"}


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Time and content of every file below a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, digest(path))
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_the_first_model_becomes_champion(registered: Project) -> None:
    assert_whole(registered)
    assert (registered.store / f"{register.digest_of(registered)}.skops").is_file()


def test_the_record_says_all_about_the_model(registered: Project) -> None:
    (record,) = Store(registered.store).records()
    assert record["model"] == "elastic_net"
    assert record["parameters"] == {"alpha": 0.01, "l1_ratio": 0.5}
    assert record["params"] == PARAMS
    assert record["contract"] == digest(registered.contract)
    assert record["data"] == read_json(registered.profile)["data"]
    assert record["metrics"] == read_json(registered.metrics)
    assert record["gate"] == read_json(registered.gate)
    assert record["commit"] is None and record["since"] is None
    assert record["libraries"]["mlref"]
    assert record["partial_correlations"]["columns"]["area"] == pytest.approx(1, abs=0.01)
    train = read_parquet(registered.train)
    assert Store(registered.store).rows(record["digest"]) == {*row_ids(CONTRACT, train)}
    assert record["created"].endswith("+00:00")


def test_running_it_again_changes_nothing_and_imports_nothing_large(published: Project) -> None:
    before = snapshot(published.root)
    script = (
        "import sys; from pathlib import Path; from mlref.registry import register;"
        "from mlref.core.storage import Project; register.run(Project(Path(sys.argv[1])));"
        "print([name for name in sys.argv[2:] if name in sys.modules])"
    )
    large = ["mlflow", "sklearn", "pandas", "onnxruntime", "matplotlib", "sqlalchemy"]
    done = subprocess.run(
        [sys.executable, "-c", script, str(published.root), *large],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"
    assert snapshot(published.root) == before


CRASHES = [
    ("mlflow.MlflowClient.log_batch", 4),  # one trial is finished, the second is empty
    ("mlflow.MlflowClient.log_artifact", 1),  # all runs are finished
    ("mlflow.MlflowClient.create_model_version", 1),
    ("mlref.bundle.store.Store.add", 1),
    ("mlref.bundle.store.write_json", 1),  # the bundle is in the store, its record is not
    ("mlref.registry.audit.note", 1),
    ("mlref.bundle.store.Store.point", 1),
    ("mlref.bundle.store.Store.point", 2),
    ("mlref.registry.register.sync_aliases", 1),
]


def crash(project: Project, where: str, call: int) -> None:
    """Register, and end at this call."""
    real, calls = resolve_name(where), []

    def ends(*args: Any, **kwargs: Any) -> Any:
        calls.append(where)
        if len(calls) == call:
            raise Crash
        return real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Crash):
        patch.setattr(where, ends)
        register.run(project)


def test_crashes_at_one_step_after_the_other_are_mended_by_running_it_again(
    unregistered: Project,
) -> None:
    """Each run cleans up after the crash before it, and ends a step further on."""
    for where, call in CRASHES:
        crash(unregistered, where, call)
    register.run(unregistered)
    assert_whole(unregistered)
    assert len(audit.read(Store(unregistered.store))) == 1


def alias_moved(project: Project) -> None:
    """Somebody takes an alias away in MLflow."""
    with open_store(project) as client:
        client.delete_registered_model_alias("rents", "champion")


def without_runs(project: Project) -> None:
    """MLflow's database is another, empty one."""
    shutil.copy(project.root / "empty.db", project.root / "mlflow.db")
    shutil.rmtree(project.root / "mlartifacts")


def without_memory(project: Project) -> None:
    """Neither store is left."""
    without_runs(project)
    shutil.rmtree(project.store)


@pytest.mark.parametrize("damage", [alias_moved, without_runs, without_memory])
def test_what_mlflow_has_lost_is_published_again(
    published: Project, opened: Project, damage: Callable[[Project], object]
) -> None:
    shutil.copy(opened.root / "mlflow.db", published.root / "empty.db")
    damage(published)
    register.run(published)
    assert_whole(published)


@pytest.mark.usefixtures("without_mlflow")
@pytest.mark.parametrize(
    "lost",
    ["", "champion", "challenger", "{name}.json", "{name}/MANIFEST.json", "{name}/model.onnx",
     "../../reports/gate.json", "../../reports/cards"],
)  # fmt: skip
def test_a_file_that_was_lost_is_made_again(published: Project, lost: str) -> None:
    path = published.store / lost.format(name=register.digest_of(published))
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    register.run(published)
    assert_files_whole(published)


@pytest.mark.usefixtures("without_mlflow")
def test_a_bundle_that_was_altered_is_made_again(published: Project) -> None:
    (published.store / register.digest_of(published) / "model.onnx").write_bytes(b"x")
    register.run(published)
    assert_files_whole(published)


def test_versions_stay_what_they_were_after_the_tracking_store_was_deleted(
    project_of_three: Project, opened: Project
) -> None:
    project, store = project_of_three, Store(project_of_three.store)
    versions = {record["digest"]: record["version"] for record in store.records()}
    assert sorted(versions.values()) == ["1", "2", "3"]
    shutil.copy(opened.root / "mlflow.db", project.root / "mlflow.db")
    with pytest.raises(GateBlocked):
        register.run(project)
    assert {record["digest"]: record["version"] for record in store.records()} == versions
    assert mlflow_state(project)["versions"] == {v: name for name, v in versions.items()}


def test_in_a_shared_tracking_store_the_aliases_follow_the_bundles(
    published: Project, opened: Project, rivals: Rivals, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shared = f"sqlite:///{copy(opened, tmp_path / 'shared').root}/mlflow.db"
    other = copy(published, tmp_path / "other")
    adopt(other, rivals["tied"])
    shutil.rmtree(other.store)
    for project in (other, published):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", shared)
        register.run(project)
    with open_store(published) as client:
        shown = client.get_model_version_by_alias("rents", "champion")
    assert shown.tags["digest"] == Store(published.store).alias("champion")
    place = urlsplit(shown.source)
    assert place.scheme and place.path.startswith("/"), "or a server refuses it"


def test_a_worse_model_is_blocked_and_the_champion_stays(three: Project) -> None:
    store = Store(three.store)
    with pytest.raises(GateBlocked, match="It is worse than the champion by"):
        register.run(three)
    versions = {record["digest"]: record["version"] for record in store.records()}
    assert versions[str(store.alias("champion"))] == "1"
    assert store.alias("challenger") == register.digest_of(three)
    gate = read_json(three.gate)
    assert (gate["verdict"], gate["champion"]) == ("block", store.alias("champion"))
    assert mlflow_state(three)["aliases"] == {"champion": "1", "challenger": "3"}


def test_a_decision_changes_nothing(published: Project, rivals: Rivals) -> None:
    adopt(published, rivals["worse"])
    before = snapshot(published.root)
    assert register.decision(published)["verdict"] == "block"
    assert snapshot(published.root) == before


@pytest.mark.usefixtures("without_mlflow")
def test_a_first_model_that_is_refused_says_what_to_look_at(unregistered: Project) -> None:
    set_params(unregistered, register={"smallest_holdout": 1000})
    with pytest.raises(
        GateBlocked, match="there is still no champion.*(?s:.*)--explain.*--model 1"
    ):
        register.run(unregistered)
    with pytest.raises(ModelNotFound, match="none become champion.*--model 1"):
        Store(unregistered.store).open("champion")


@pytest.mark.usefixtures("without_mlflow")
def test_a_champion_that_comes_back_is_still_the_champion(
    project_of_three: Project, registered: Project
) -> None:
    for name in ("config", "models/bundle", "reports"):
        shutil.copytree(registered.root / name, project_of_three.root / name, dirs_exist_ok=True)
    shutil.copy(registered.model, project_of_three.model)
    record, champion = register.run(project_of_three)
    assert (record["version"], champion) == ("1", True)
    assert Store(project_of_three.store).alias("challenger") == record["digest"]


@pytest.mark.usefixtures("without_mlflow")
def test_a_crash_before_a_promotion_is_carried_out_does_not_lose_it(
    unregistered: Project, rivals: Rivals
) -> None:
    """The challenger's pointer, which says that it was, comes last."""
    adopt(unregistered, rivals["worse"])
    register.run(unregistered)
    adopt(unregistered, rivals["better"])
    for where in ("mlref.registry.audit.note", "mlref.bundle.store.Store.point"):
        crash(unregistered, where, 1)
    assert register.run(unregistered)[1]


@pytest.mark.usefixtures("without_mlflow")
def test_a_better_model_replaces_the_champion_and_the_earlier_one_is_judged_anew(
    unregistered: Project, rivals: Rivals
) -> None:
    project, store = unregistered, Store(unregistered.store)
    for name in ("worse", "better"):
        adopt(project, rivals[name])
        assert register.run(project)[1]
    champion = store.alias("champion")
    assert champion == register.digest_of(project) == store.resolve("2")
    adopt(project, rivals["worse"])
    with pytest.raises(GateBlocked, match="It is worse than the champion"):
        register.run(project)
    assert store.alias("champion") == champion


def test_another_evaluation_of_the_same_model_is_another_run_of_the_same_version(
    published: Project,
) -> None:
    set_params(published, register={"resamples": 300})
    record, champion = register.run(published)
    assert (record["version"], champion) == ("1", True)
    same = "Its recipe predicts the same as the champion's. It predicts the same as the champion."
    assert record["gate"]["reasons"] == [same]
    state = mlflow_state(published)
    assert state["parents"] == ["FINISHED"] * 2
    assert state["versions"] == {"1": register.digest_of(published)}


def test_metrics_of_another_model_are_not_published(published: Project, rivals: Rivals) -> None:
    shutil.copytree(rivals["better"].bundle, published.bundle, dirs_exist_ok=True)
    before = snapshot(published.root)
    with pytest.raises(GateBlocked, match="The evaluation is of another .*: the bundle changed"):
        register.run(published)
    assert snapshot(published.root) == before


def test_without_a_bundle_it_says_what_to_run(project: Project) -> None:
    shutil.rmtree(project.bundle)
    with pytest.raises(MlrefError, match=r"MANIFEST\.json cannot be read .* Run `make train`"):
        register.run(project)
    assert Store(project.store).records() == []


def test_files_that_are_committed_later_give_the_model_their_commit(
    published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, store = "a" * 40, Store(published.store)
    (record,) = store.records()
    write_json(published.store / f"{record['digest']}.json", record | {"commit": f"{head}-dirty"})
    monkeypatch.setattr(git, "commit", lambda _: (f"{head}-dirty", ""))
    before = snapshot(published.root)
    register.run(published)
    assert snapshot(published.root) == before
    monkeypatch.setattr("mlref.registry.comparison.judge", lambda *_: pytest.fail("asked again"))
    for commit in (head, "b" * 40):  # a recorded commit stays
        monkeypatch.setattr(git, "commit", lambda _, commit=commit: (commit, ""))
        published.gate.unlink()
        register.run(published)
    assert_whole(published)
    (record,) = store.records()
    assert record["commit"] == head
    with open_store(published) as client:
        assert client.get_run(record["run_id"]).data.tags["commit"] == head
        assert client.get_model_version("rents", "1").tags["commit"] == head
    assert f"Commit: `{head}`" in (published.cards / "model-card.md").read_text()
    assert len(audit.read(store)) == 1


def test_the_fingerprint_follows_what_decides(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = register.fingerprint(project)
    project.metrics.write_text(json.dumps(read_json(project.metrics)))
    assert register.fingerprint(project) == before
    project.metrics.write_text(json.dumps(read_json(project.metrics) | {"rows": 31}))
    changed = register.fingerprint(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert len({before, changed, register.fingerprint(project)}) == 3


# After a change of concept.

CHANGE = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="session")
def changed(registered: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two hundred labelled rows later, of which the newer ones have another price of an area."""
    project = copy(registered, tmp_path_factory.mktemp("changed") / "clone")
    new = rents(200, seed=9)
    new["rent"] += 0.8 * (new["area"] - 160)
    days = [f"2026-11-{1 + row // 10:02}T12:00:00Z" for row in range(200)]
    labels = project.root / "data" / "source" / "labels"
    labels.mkdir()
    new.assign(predicted_at=days).to_csv(labels / "november.csv", index=False)
    run_data(project)
    retrain(project, **PARAMS["tune"]["candidates"])
    return project


@pytest.mark.usefixtures("without_mlflow")
def test_a_stale_champion_is_replaced_by_the_rows_since_the_change(
    changed: Project, tmp_path: Path
) -> None:
    project = copy(changed, tmp_path / "clone")
    record, champion = register.run(project, Since(CHANGE, "the rent law"))
    gate = record["gate"]
    assert (champion, gate["verdict"], gate["since"]) == (True, "promote", CHANGE.isoformat())
    assert "beats the champion by" in " ".join(gate["reasons"]) and gate["look"] == 2
    assert record["since"] == {"time": CHANGE.isoformat(), "because": "the rent law"}
    entry = audit.read(Store(project.store))[-1]
    assert entry["since"] == CHANGE.isoformat() and entry["reason"].startswith("the rent law: ")
    before = snapshot(project.root)
    assert register.run(project, Since(CHANGE, "the rent law"))[1]
    assert register.run(project)[0]["gate"] == gate, "what was decided is not asked again"
    assert snapshot(project.root) == before


@pytest.mark.parametrize("day", [20, 21])
def test_the_rows_after_a_time_are_those_that_the_log_says(changed: Project, day: int) -> None:
    """Ten a day to the twentieth; the first 120 rows have no time, so they are older."""
    gate = register.decision(
        changed, Since(datetime.datetime(2026, 11, day, tzinfo=datetime.UTC), "")
    )
    assert gate["verdict"] == "keep"
    assert (
        f"Only {210 - 10 * day} rows since then are unknown to the champion" in gate["reasons"][0]
    )
