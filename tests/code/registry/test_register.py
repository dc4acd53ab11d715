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

from mlref import tracking
from mlref.bundle.store import Store
from mlref.core.contract import load as load_contract
from mlref.core.errors import GateBlocked, MlrefError
from mlref.core.storage import Project, digest, read_json
from mlref.registry import register
from tests.projects import PARAMS, Rivals, adopt, copy, forget_mlflow, set_params


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture(autouse=True)
def pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one test needs pictures; drawing takes most of the time."""
    monkeypatch.setattr("mlref.registry.publish.draw", lambda *_: [])


def mlflow_state(project: Project) -> dict[str, Any]:
    """What MLflow holds: live parent runs with their children, versions and aliases."""
    contract = load_contract(project.contract)
    client, experiment = tracking.open_store(project, contract)
    runs = client.search_runs([experiment])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    parents = {run.info.run_id: run for run in runs if run not in children}
    return {
        "parents": [run.info.status for run in parents.values()],
        "children": [run.info.status for run in children],
        "orphans": [run for run in children if run.data.tags["mlflow.parentRunId"] not in parents],
        "versions": {
            str(version.version): version.tags["digest"]
            for version in client.search_model_versions(f"name = '{contract.name}'")
        },
        "aliases": {
            alias: str(version)
            for alias, version in client.get_registered_model(contract.name).aliases.items()
        },
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
    assert tracking.holds(project, record["run_id"])


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Time and content of every file below a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, digest(path))
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_the_first_model_becomes_champion(registered: Project) -> None:
    """It has passed the gate, and there is none before it."""
    assert_whole(registered)
    assert (registered.store / f"{register.digest_of(registered)}.skops").is_file()


def test_the_record_says_all_about_the_model(registered: Project) -> None:
    """Where it came from, how good it is, what was decided, with which libraries."""
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
    """No run, no version, and no file is written; the summary is the same."""
    before = snapshot(published.root)
    first = register.run(published)
    assert first == register.run(published)
    assert snapshot(published.root) == before
    assert first.splitlines()[0].startswith("Model version 1 (champion) · elastic_net · bundle ")


def test_an_alias_that_was_taken_away_in_mlflow_is_put_back(published: Project) -> None:
    """The pointers of the bundle store are the truth; the gate is not asked again for it."""
    client, _ = tracking.open_store(published, load_contract(published.contract))
    client.delete_registered_model_alias("rents", "champion")
    before = snapshot(published.store)
    register.run(published)
    assert_whole(published)
    assert snapshot(published.store) == before


def test_the_summary_shows_the_model_beside_its_baselines(registered: Project) -> None:
    """With the verdict, its reasons and the next command."""
    (record,) = Store(registered.store).records()
    lines = register.summary(record, champion=True).splitlines()
    assert lines[2].split() == ["30", "held-out", "rows", "RMSE", "MAE"]
    assert [line.split()[0] for line in lines[3:6]] == ["elastic_net", "mean", "single_feature"]
    assert "Verdict: promote" in lines
    assert "  There is no champion yet." in lines
    assert lines[-1] == "Next: make serve"
    assert "(challenger)" in register.summary(record, champion=False)


def test_running_it_again_imports_nothing_large(published: Project) -> None:
    """A look at a few files takes no second and a half for MLflow."""
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
        ("mlref.registry.publish.draw", 1),
        ("mlref.registry.cards.model_card", 1),
        ("mlflow.MlflowClient.create_run", 2),  # the parent is there, no trial
        ("mlflow.MlflowClient.log_batch", 3),  # one trial is finished, the second is empty
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
        ("mlref.registry.register.mirror", 1),
        ("mlref.bundle.store.Store.point", 2),
    ],
)
def test_a_crash_at_any_step_is_mended_by_running_it_again(
    unregistered: Project, monkeypatch: pytest.MonkeyPatch, where: str, call: int
) -> None:
    """The end is the same as without the crash."""
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


@pytest.mark.parametrize("status", ["RUNNING", "FAILED", "KILLED"])
def test_a_run_that_a_crash_left_unfinished_is_removed_and_redone(
    published: Project, status: str
) -> None:
    """Its parent was killed after its trials had finished."""
    (record,) = Store(published.store).records()
    client, _ = tracking.open_store(published, load_contract(published.contract))
    client.update_run(record["run_id"], status=status)
    register.run(published)
    state = mlflow_state(published)
    assert (state["parents"], state["children"]) == (["FINISHED"], ["FINISHED"] * 4)
    assert state["orphans"] == []


def test_a_deleted_gate_report_is_written_again(published: Project) -> None:
    """From the record, and nothing else."""
    before = published.gate.read_bytes()
    shutil.rmtree(published.gate.parent / "pictures", ignore_errors=True)
    published.gate.unlink()
    register.run(published)
    assert published.gate.read_bytes() == before
    assert_whole(published)


def test_deleted_cards_are_written_again(published: Project) -> None:
    """From the record and the reports, as they were."""
    before = {path.name: path.read_bytes() for path in published.cards.iterdir()}
    shutil.rmtree(published.cards)
    register.run(published)
    assert {path.name: path.read_bytes() for path in published.cards.iterdir()} == before
    assert set(before) == {"model-card.md", "datasheet.md"}


def test_a_deleted_tracking_store_is_rebuilt(
    registered: Project, opened: Project, tmp_path: Path
) -> None:
    """With the same digest, version and verdict; the store's decision stands."""
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


def test_a_tracking_store_that_was_deleted_is_noticed(published: Project) -> None:
    """Without importing MLflow: the file is looked at."""
    (record,) = Store(published.store).records()
    assert tracking.holds(published, record["run_id"])
    (published.root / "mlflow.db").unlink()
    assert not tracking.holds(published, record["run_id"])


def test_versions_stay_what_they_were_after_the_tracking_store_was_deleted(
    registered: Project, opened: Project, tmp_path: Path, rivals: Rivals
) -> None:
    """Two registered models never share a version number."""
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
    """Another clone's model has taken version 1 there, which is the champion's number here."""
    other, mine = copy(registered, tmp_path / "other"), copy(registered, tmp_path / "mine")
    adopt(mine, rivals["tied"])
    register.run(mine)  # a challenger; the champion stays
    adopt(other, rivals["worse"])
    shutil.rmtree(other.store)
    shared = f"sqlite:///{copy(opened, tmp_path / 'shared').root}/mlflow.db"
    for project in (other, mine):
        forget_mlflow()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", shared)
        register.run(project)
    client, _ = tracking.open_store(mine, load_contract(mine.contract))
    for alias in ("champion", "challenger"):
        shown = client.get_model_version_by_alias("rents", alias)
        assert shown.tags["digest"] == Store(mine.store).alias(alias)
    forgotten = client.get_model_version_by_alias("rents", "champion").source
    place = urlsplit(forgotten)
    assert place.scheme and place.path.startswith("/"), "or a server refuses it"


def test_a_deleted_bundle_store_is_rebuilt(published: Project) -> None:
    """From the run in MLflow, with the same version, and no new run."""
    shutil.rmtree(published.store)
    register.run(published)
    assert_whole(published)


def test_a_deleted_store_and_tracking_store_are_rebuilt(
    registered: Project, opened: Project, tmp_path: Path
) -> None:
    """The model is registered as if for the first time."""
    project = forgetful(registered, opened, tmp_path)
    shutil.rmtree(project.store)
    register.run(project)
    assert_whole(project)


@pytest.mark.parametrize("damage", ["altered", "missing"])
@pytest.mark.parametrize("name", ["model.onnx", "MANIFEST.json"])
def test_a_damaged_bundle_in_the_store_is_mended(
    published: Project, name: str, damage: str
) -> None:
    """The service says to run `make train`; then that has to help."""
    path = published.store / register.digest_of(published) / name
    path.write_bytes(b"x") if damage == "altered" else path.unlink()
    register.run(published)
    assert_whole(published)


def test_a_deleted_record_is_rebuilt(published: Project) -> None:
    """The pointers are there, what they point to is not registered."""
    (published.store / f"{register.digest_of(published)}.json").unlink()
    register.run(published)
    assert_whole(published)


@pytest.mark.parametrize("alias", ["champion", "challenger"])
def test_a_deleted_pointer_is_rebuilt(published: Project, alias: str) -> None:
    """The record knows what was decided."""
    (published.store / alias).unlink()
    register.run(published)
    assert_whole(published)


def test_a_worse_model_is_blocked_and_the_champion_stays(
    published: Project, rivals: Rivals
) -> None:
    """Everything is written first: the record, gate.json, the challenger's pointer."""
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
    """It is the challenger."""
    champion = Store(published.store).alias("champion")
    adopt(published, rivals["tied"])
    said = register.run(published)
    assert said.startswith("Model version 2 (challenger) · elastic_net")
    assert "Verdict: keep" in said
    assert Store(published.store).alias("champion") == champion


@pytest.mark.parametrize("name", ["none", "tied", "worse"])
def test_a_rehearsal_changes_nothing(published: Project, rivals: Rivals, name: str) -> None:
    """It says what registering would, and leaves every byte of store, MLflow and reports."""
    if name != "none":
        adopt(published, rivals[name])
    published.gate.unlink()
    (published.store / ".lock").unlink()
    before = snapshot(published.root)
    gate = register.decision(published)
    if name == "worse":
        with pytest.raises(GateBlocked, match="It is worse than the champion by"):
            register.rehearse(published)
    else:
        said = register.rehearse(published)
        assert said.startswith(f"Verdict: {gate['verdict']}\n  ")
        assert said.endswith("Dry run: nothing is changed.")
    assert snapshot(published.root) == before
    assert not (published.store / ".lock").exists()
    assert gate["verdict"] == {"none": "promote", "tied": "keep", "worse": "block"}[name]


def test_the_first_registration_can_be_rehearsed(unregistered: Project) -> None:
    """There is no store yet, and then there still is none."""
    shutil.rmtree(unregistered.store)
    assert "There is no champion yet." in register.rehearse(unregistered)
    assert not unregistered.store.exists()


def test_a_champion_that_comes_back_is_judged_as_the_champion(
    published: Project, rivals: Rivals, tmp_path: Path
) -> None:
    """Another model was tried and kept out; the first verdict is not repeated."""
    first = copy(published, tmp_path / "first")
    adopt(published, rivals["tied"])
    register.run(published)
    for name in ("config", "models/bundle", "reports"):
        shutil.copytree(first.root / name, published.root / name, dirs_exist_ok=True)
    shutil.copy(first.model, published.model)
    said = register.run(published)
    assert said.startswith("Model version 1 (champion)")
    assert "Verdict: keep\n  It predicts the same as the champion.\n\nNext" in said


@pytest.fixture(scope="module")
def succeeded(opened: Project, rivals: Rivals, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A worse model was champion first; a better one followed it. Not to be changed."""
    project = copy(opened, tmp_path_factory.mktemp("succeeded") / "clone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlref.registry.publish.draw", lambda *_: [])
        for name in ("worse", "better"):
            adopt(project, rivals[name])
            assert "Verdict: promote" in register.run(project)
    return project


def test_a_better_model_replaces_the_champion(succeeded: Project) -> None:
    """Both versions stay in the store and in MLflow."""
    assert mlflow_state(succeeded)["aliases"] == {"champion": "2", "challenger": "2"}
    store = Store(succeeded.store)
    assert store.alias("champion") == register.digest_of(succeeded) == store.resolve("2")
    assert len(store.records()) == 2


def test_an_earlier_model_is_judged_anew_when_it_comes_back(
    succeeded: Project, rivals: Rivals, tmp_path: Path
) -> None:
    """It was promoted when there was no champion; now there is a better one."""
    project = copy(succeeded, tmp_path / "clone")
    champion = Store(project.store).alias("champion")
    adopt(project, rivals["worse"])
    with pytest.raises(GateBlocked, match="It is worse than the champion"):
        register.run(project)
    assert Store(project.store).alias("champion") == champion


def test_another_evaluation_of_the_same_model_is_another_run_of_the_same_version(
    published: Project,
) -> None:
    """The gate's knobs changed; the bundle did not."""
    set_params(published, register={"resamples": 300})
    said = register.run(published)
    assert said.startswith("Model version 1 (champion)")
    assert "It predicts the same as the champion." in said
    state = mlflow_state(published)
    assert state["parents"] == ["FINISHED"] * 2
    assert state["versions"] == {"1": register.digest_of(published)}


def test_a_clone_that_was_moved_goes_on(
    registered: Project, tmp_path: Path, rivals: Rivals
) -> None:
    """Its runs, old and new, have their artefacts in the new place; the old one is gone."""
    import mlflow

    old = copy(registered, tmp_path / "old place")
    register.run(old)
    new = copy(old, tmp_path / "new")
    shutil.rmtree(old.root)
    assert register.run(new).startswith("Model version 1 (champion)")
    adopt(new, rivals["tied"])
    assert register.run(new).startswith("Model version 2 (challenger)")
    client, experiment = tracking.open_store(new, load_contract(new.contract))
    parents = [
        run for run in client.search_runs([experiment])
        if "mlflow.parentRunId" not in run.data.tags
    ]  # fmt: skip
    assert len(parents) == 2
    for run in parents:
        assert run.info.artifact_uri.startswith(new.root.as_uri())
        content = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/metrics.json")
        assert content["rows"] == 30
    for version in ("1", "2"):
        assert mlflow.sklearn.load_model(f"models:/rents/{version}").predict([[70, 3, 1, 4]]) > 0


def test_figures_of_another_model_are_not_published(published: Project, rivals: Rivals) -> None:
    """Nothing is registered under a digest whose evaluation this is not."""
    shutil.copytree(rivals["better"].bundle, published.bundle, dirs_exist_ok=True)
    before = snapshot(published.root)
    for _ in range(2):
        with pytest.raises(GateBlocked, match="What was evaluated is not what is here: the bundle"):
            register.run(published)
    assert snapshot(published.root) == before


def test_without_a_bundle_it_says_what_to_run(project: Project) -> None:
    """Nothing is registered."""
    shutil.rmtree(project.bundle)
    with pytest.raises(MlrefError, match=r"MANIFEST\.json cannot be read .* Run `make train`"):
        register.run(project)
    assert Store(project.store).records() == []


@pytest.mark.parametrize(("change", "commit"), [("", "{head}"), ("changed", "{head}-dirty")])
def test_the_commit_of_the_clone_is_recorded(tmp_path: Path, change: str, commit: str) -> None:
    """With a mark when a tracked file differs from it."""

    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", *words]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    (tmp_path / "file").write_text("content")
    git("init", "--quiet")
    git("add", "file")
    git("commit", "--quiet", "-m", "first")
    git("tag", "v1")
    (tmp_path / "file").write_text(change or "content")
    assert register.commit(Project(tmp_path)) == commit.format(head=git("rev-parse", "HEAD"))


def test_files_that_are_committed_later_give_the_model_their_commit(
    unregistered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the record, the run, the version and the card; the gate is not asked again."""
    head = "a" * 40
    monkeypatch.setattr(register, "commit", lambda _: f"{head}-dirty")
    register.run(unregistered)
    before = snapshot(unregistered.root)
    register.run(unregistered)
    assert snapshot(unregistered.root) == before
    monkeypatch.setattr(register, "commit", lambda _: head)
    monkeypatch.setattr("mlref.registry.comparison.judge", lambda *_: pytest.fail("asked again"))
    trail = (unregistered.store / "audit.jsonl").read_bytes()
    register.run(unregistered)
    assert_whole(unregistered)
    (record,) = Store(unregistered.store).records()
    assert record["commit"] == head
    client, _ = tracking.open_store(unregistered, load_contract(unregistered.contract))
    assert client.get_run(record["run_id"]).data.tags["commit"] == head
    assert client.get_model_version("rents", "1").tags["commit"] == head
    assert f"Commit: `{head}`" in (unregistered.cards / "model-card.md").read_text()
    assert (unregistered.store / "audit.jsonl").read_bytes() == trail


def test_outside_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor on a machine without git."""
    assert register.commit(Project(tmp_path)) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert register.commit(Project(tmp_path)) is None


def test_the_fingerprint_follows_what_decides(project: Project) -> None:
    """Bundle, evaluation, trials and the gate's knobs; not the form of the files."""
    before = register.fingerprint(project)
    project.metrics.write_text(json.dumps(read_json(project.metrics)))
    assert register.fingerprint(project) == before
    project.metrics.write_text(json.dumps(read_json(project.metrics) | {"rows": 31}))
    assert register.fingerprint(project) != before
