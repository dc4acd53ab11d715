"""The one door to state: idempotent, and mended by running it again."""

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mlref.bundle.store import Store
from mlref.core.errors import GateBlocked, MlrefError, ModelNotFound
from mlref.core.storage import Project, digest, read_json
from mlref.registry import git, register
from mlref.tracking.runs import is_finished
from mlref.tracking.store import experiment, open_store
from tests.projects import PARAMS, Rivals, adopt, copy, set_params


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
    name, store = register.digest_of(project), Store(project.store)
    assert mlflow_state(project) == {
        "parents": ["FINISHED"],
        "children": ["FINISHED"] * 4,
        "orphans": [],
        "versions": {"1": name},
        "aliases": {"champion": "1", "challenger": "1"},
    }
    assert [record["digest"] for record in store.records()] == [name]
    assert store.alias("champion") == store.alias("challenger") == name
    predictor, record = store.open("champion")
    assert (predictor.digest, record["version"]) == (name, "1")
    assert record["gate"]["verdict"] == "promote" == read_json(project.gate)["verdict"]
    assert is_finished(project, record["run_id"])


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
    assert record["commit"] is None
    assert record["libraries"]["mlref"]
    assert record["created"].endswith("+00:00")


def test_running_it_again_changes_nothing(published: Project) -> None:
    before = snapshot(published.root)
    first = register.run(published)
    assert first == register.run(published)
    assert snapshot(published.root) == before
    assert first[1], "it is the champion"


def test_an_alias_that_was_taken_away_in_mlflow_is_put_back(published: Project) -> None:
    with open_store(published) as client:
        client.delete_registered_model_alias("rents", "champion")
    before = snapshot(published.store)
    register.run(published)
    assert_whole(published)
    assert snapshot(published.store) == before


def test_running_it_again_imports_nothing_large(published: Project) -> None:
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


@pytest.mark.parametrize(
    ("where", "call"),
    [
        ("mlref.registry.comparison.judge", 1),
        ("mlref.registry.cards.cards", 1),
        ("mlflow.MlflowClient.create_run", 2),  # the parent is there, no trial
        ("mlflow.MlflowClient.log_batch", 4),  # one trial is finished, the second is empty
        ("mlflow.MlflowClient.set_terminated", 4),
        ("mlflow.MlflowClient.log_artifact", 1),  # all trials are finished, the parent is not
        ("mlflow.sklearn.log_model", 1),
        ("mlflow.MlflowClient.create_registered_model", 1),
        ("mlflow.MlflowClient.create_model_version", 1),
        ("mlflow.MlflowClient.update_model_version", 1),
        ("mlref.bundle.store.Store.add", 1),
        ("mlref.bundle.store.write_json", 1),  # the bundle is in the store, its record is not
        ("mlref.registry.register.write_json", 1),
        ("mlref.registry.audit.note", 1),
        ("mlref.bundle.store.Store.point", 1),
        ("mlref.registry.register.sync_aliases", 1),
        ("mlref.bundle.store.Store.point", 2),
    ],
)
def test_a_crash_at_any_step_is_mended_by_running_it_again(
    unregistered: Project, monkeypatch: pytest.MonkeyPatch, where: str, call: int
) -> None:
    import mlflow  # noqa: F401 - so that its parts can be named

    calls = []

    def crash(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            calls.append(where)
            if len(calls) == call:
                raise Crash
            return real(*args, **kwargs)

        return step

    module, _, name = where.rpartition(".")
    owner = importlib.import_module(module) if module.islower() else _class(module)
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(owner, name, crash(getattr(owner, name)))
        register.run(unregistered)
    register.run(unregistered)
    assert_whole(unregistered)


def _class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(sys.modules[module], name)


def test_a_deleted_gate_report_is_written_again(published: Project) -> None:
    before = published.gate.read_bytes()
    shutil.rmtree(published.gate.parent / "pictures", ignore_errors=True)
    published.gate.unlink()
    register.run(published)
    assert published.gate.read_bytes() == before
    assert_whole(published)


def test_deleted_cards_are_written_again(published: Project) -> None:
    before = {path.name: path.read_bytes() for path in published.cards.iterdir()}
    shutil.rmtree(published.cards)
    register.run(published)
    assert {path.name: path.read_bytes() for path in published.cards.iterdir()} == before
    assert set(before) == {"model-card.md", "datasheet.md"}


def test_a_deleted_tracking_store_is_rebuilt(
    registered: Project, opened: Project, tmp_path: Path
) -> None:
    project = forgetful(registered, opened, tmp_path)
    before = Store(project.store).records()[0]
    register.run(project)
    assert_whole(project)
    after = Store(project.store).records()[0]
    assert {k for k in before if before[k] != after[k]} <= {"run_id", "created"}


def forgetful(registered: Project, opened: Project, tmp_path: Path) -> Project:
    """A copy whose MLflow has forgotten all runs."""
    project = copy(registered, tmp_path / "clone")
    shutil.copy(opened.root / "mlflow.db", project.root / "mlflow.db")
    shutil.rmtree(project.root / "mlartifacts")
    return project


def test_versions_stay_what_they_were_after_the_tracking_store_was_deleted(
    registered: Project, opened: Project, tmp_path: Path, rivals: Rivals
) -> None:
    first = copy(registered, tmp_path / "first")
    adopt(first, rivals["tied"])
    register.run(first)
    versions = {record["digest"]: record["version"] for record in Store(first.store).records()}
    assert sorted(versions.values()) == ["1", "2"]
    project = forgetful(first, opened, tmp_path)
    register.run(project)
    found = {record["digest"]: record["version"] for record in Store(project.store).records()}
    assert found == versions
    assert Store(project.store).resolve("2") == register.digest_of(project)


def test_in_a_shared_tracking_store_the_aliases_follow_the_bundles(
    registered: Project, opened: Project, rivals: Rivals, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    other, mine = copy(registered, tmp_path / "other"), copy(registered, tmp_path / "mine")
    adopt(mine, rivals["tied"])
    register.run(mine)  # a challenger; the champion stays
    adopt(other, rivals["worse"])
    shutil.rmtree(other.store)
    shared = f"sqlite:///{copy(opened, tmp_path / 'shared').root}/mlflow.db"
    for project in (other, mine):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", shared)
        register.run(project)
    with open_store(mine) as client:
        for alias in ("champion", "challenger"):
            shown = client.get_model_version_by_alias("rents", alias)
            assert shown.tags["digest"] == Store(mine.store).alias(alias)
        place = urlsplit(client.get_model_version_by_alias("rents", "champion").source)
    assert place.scheme and place.path.startswith("/"), "or a server refuses it"


def test_a_deleted_bundle_store_is_rebuilt(published: Project) -> None:
    shutil.rmtree(published.store)
    register.run(published)
    assert_whole(published)


def test_a_deleted_store_and_tracking_store_are_rebuilt(
    registered: Project, opened: Project, tmp_path: Path
) -> None:
    project = forgetful(registered, opened, tmp_path)
    shutil.rmtree(project.store)
    register.run(project)
    assert_whole(project)


@pytest.mark.parametrize("damage", ["altered", "missing"])
@pytest.mark.parametrize("name", ["model.onnx", "MANIFEST.json"])
def test_a_damaged_bundle_in_the_store_is_mended(
    published: Project, name: str, damage: str
) -> None:
    path = published.store / register.digest_of(published) / name
    path.write_bytes(b"x") if damage == "altered" else path.unlink()
    register.run(published)
    assert_whole(published)


def test_a_deleted_record_is_rebuilt(published: Project) -> None:
    (published.store / f"{register.digest_of(published)}.json").unlink()
    register.run(published)
    assert_whole(published)


@pytest.mark.parametrize("alias", ["champion", "challenger"])
def test_a_deleted_pointer_is_rebuilt(published: Project, alias: str) -> None:
    (published.store / alias).unlink()
    register.run(published)
    assert_whole(published)


def test_a_worse_model_is_blocked_and_the_champion_stays(
    published: Project, rivals: Rivals
) -> None:
    champion = Store(published.store).alias("champion")
    pointer = (published.store / "champion").stat().st_mtime_ns
    adopt(published, rivals["worse"])
    for _ in range(2):
        with pytest.raises(GateBlocked, match="It is worse than the champion by"):
            register.run(published)
    store = Store(published.store)
    assert store.alias("champion") == champion
    assert (published.store / "champion").stat().st_mtime_ns == pointer
    assert store.alias("challenger") == register.digest_of(published)
    assert read_json(published.gate)["verdict"] == "block"
    assert read_json(published.gate)["champion"] == champion
    assert mlflow_state(published)["aliases"] == {"champion": "1", "challenger": "2"}


def test_a_tied_model_is_registered_and_the_champion_stays(
    published: Project, rivals: Rivals
) -> None:
    champion = Store(published.store).alias("champion")
    adopt(published, rivals["tied"])
    record, champion_now = register.run(published)
    assert (record["version"], record["gate"]["verdict"], champion_now) == ("2", "keep", False)
    assert Store(published.store).alias("champion") == champion


@pytest.mark.parametrize("name", ["none", "tied", "worse"])
def test_a_decision_changes_nothing(published: Project, rivals: Rivals, name: str) -> None:
    if name != "none":
        adopt(published, rivals[name])
    (published.store / ".lock").unlink()
    before = snapshot(published.root)
    verdict = register.decision(published)["verdict"]
    assert verdict == {"none": "promote", "tied": "keep", "worse": "block"}[name]
    assert snapshot(published.root) == before
    assert not (published.store / ".lock").exists()


def test_a_first_model_that_is_refused_says_what_to_look_at(unregistered: Project) -> None:
    set_params(unregistered, register={"smallest_holdout": 1000})
    with pytest.raises(
        GateBlocked, match="there is still no champion.*(?s:.*)--explain.*--model 1"
    ):
        register.run(unregistered)
    with pytest.raises(ModelNotFound, match="none become champion.*--model 1"):
        Store(unregistered.store).open("champion")


def test_a_champion_that_comes_back_is_judged_as_the_champion(
    published: Project, rivals: Rivals, tmp_path: Path
) -> None:
    first = copy(published, tmp_path / "first")
    adopt(published, rivals["tied"])
    register.run(published)
    for name in ("config", "models/bundle", "reports"):
        shutil.copytree(first.root / name, published.root / name, dirs_exist_ok=True)
    shutil.copy(first.model, published.model)
    record, champion = register.run(published)
    assert (record["version"], champion) == ("1", True)
    assert record["gate"]["reasons"] == ["It predicts the same as the champion."]


@pytest.fixture(scope="module")
def succeeded(opened: Project, rivals: Rivals, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A worse model was champion first; a better one followed it. Not to be changed."""
    project = copy(opened, tmp_path_factory.mktemp("succeeded") / "clone")
    for name in ("worse", "better"):
        adopt(project, rivals[name])
        assert register.run(project)[1]
    return project


def test_a_better_model_replaces_the_champion(succeeded: Project) -> None:
    assert mlflow_state(succeeded)["aliases"] == {"champion": "2", "challenger": "2"}
    store = Store(succeeded.store)
    assert store.alias("champion") == register.digest_of(succeeded) == store.resolve("2")
    assert len(store.records()) == 2


def test_an_earlier_model_is_judged_anew_when_it_comes_back(
    succeeded: Project, rivals: Rivals, tmp_path: Path
) -> None:
    project = copy(succeeded, tmp_path / "clone")
    champion = Store(project.store).alias("champion")
    adopt(project, rivals["worse"])
    with pytest.raises(GateBlocked, match="It is worse than the champion"):
        register.run(project)
    assert Store(project.store).alias("champion") == champion


def test_another_evaluation_of_the_same_model_is_another_run_of_the_same_version(
    published: Project,
) -> None:
    set_params(published, register={"resamples": 300})
    record, champion = register.run(published)
    assert (record["version"], champion) == ("1", True)
    assert record["gate"]["reasons"] == ["It predicts the same as the champion."]
    state = mlflow_state(published)
    assert state["parents"] == ["FINISHED"] * 2
    assert state["versions"] == {"1": register.digest_of(published)}


def test_figures_of_another_model_are_not_published(published: Project, rivals: Rivals) -> None:
    shutil.copytree(rivals["better"].bundle, published.bundle, dirs_exist_ok=True)
    before = snapshot(published.root)
    for _ in range(2):
        with pytest.raises(
            GateBlocked, match="The evaluation is of another .*: the bundle changed"
        ):
            register.run(published)
    assert snapshot(published.root) == before


def test_without_a_bundle_it_says_what_to_run(project: Project) -> None:
    shutil.rmtree(project.bundle)
    with pytest.raises(MlrefError, match=r"MANIFEST\.json cannot be read .* Run `make train`"):
        register.run(project)
    assert Store(project.store).records() == []


def test_files_that_are_committed_later_give_the_model_their_commit(
    unregistered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = "a" * 40
    monkeypatch.setattr(git, "commit", lambda _: (f"{head}-dirty", ""))
    register.run(unregistered)
    before = snapshot(unregistered.root)
    register.run(unregistered)
    assert snapshot(unregistered.root) == before
    monkeypatch.setattr(git, "commit", lambda _: (head, ""))
    monkeypatch.setattr("mlref.registry.comparison.judge", lambda *_: pytest.fail("asked again"))
    trail = (unregistered.store / "audit.jsonl").read_bytes()
    register.run(unregistered)
    assert_whole(unregistered)
    (record,) = Store(unregistered.store).records()
    assert record["commit"] == head
    with open_store(unregistered) as client:
        assert client.get_run(record["run_id"]).data.tags["commit"] == head
        assert client.get_model_version("rents", "1").tags["commit"] == head
    assert f"Commit: `{head}`" in (unregistered.cards / "model-card.md").read_text()
    assert (unregistered.store / "audit.jsonl").read_bytes() == trail


def test_the_fingerprint_follows_what_decides(project: Project) -> None:
    before = register.fingerprint(project)
    project.metrics.write_text(json.dumps(read_json(project.metrics)))
    assert register.fingerprint(project) == before
    project.metrics.write_text(json.dumps(read_json(project.metrics) | {"rows": 31}))
    assert register.fingerprint(project) != before
