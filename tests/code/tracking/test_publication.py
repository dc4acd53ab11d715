"""What a person sees in MLflow."""

from typing import Any

import numpy as np
import pytest
import skops.io

from mlref import tracking
from mlref.bundle.package import TRUSTED
from mlref.bundle.store import Store
from mlref.core.contract import load as load_contract
from mlref.core.errors import EnvironmentFault
from mlref.core.rows import generate
from mlref.core.storage import Project, digest, read_json
from mlref.registry import register
from mlref.registry.cards import brief
from tests.fakes import CONTRACT


@pytest.fixture
def client(registered: Project) -> Any:
    """A client of the registered project's store, which is only read."""
    return tracking.open_store(registered, load_contract(registered.contract))[0]


@pytest.fixture
def record(registered: Project) -> dict[str, Any]:
    """The registration record of its one model."""
    return Store(registered.store).records()[0]


@pytest.fixture
def parent(client: Any, record: dict[str, Any]) -> Any:
    """The run of the model."""
    return client.get_run(record["run_id"])


@pytest.fixture
def children(client: Any, parent: Any) -> list[Any]:
    """The runs of its trials, first one first."""
    found = client.search_runs(
        [parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
    )
    return sorted(found, key=lambda run: str(run.info.run_name.split()[-1]))


def test_the_experiment_is_named_after_the_contract(client: Any, registered: Project) -> None:
    """With its title as the note, and artefacts in the clone."""
    experiment = client.get_experiment_by_name("rents")
    assert experiment.tags["mlflow.note.content"] == "Monthly rents"
    assert experiment.artifact_location == (registered.root / "mlartifacts").as_uri()


def test_the_run_is_named_after_model_and_digest(parent: Any, record: dict[str, Any]) -> None:
    """It is finished, and its tags say what it made and what was decided."""
    assert parent.info.run_name == f"elastic_net {record['digest'][:8]}"
    assert parent.info.status == "FINISHED"
    tags = parent.data.tags
    assert (tags["model"], tags["digest"], tags["verdict"]) == (
        "elastic_net",
        record["digest"],
        "promote",
    )
    assert tags["summary"].startswith("elastic_net: RMSE ")
    assert tags["summary"].endswith("on 30 held-out rows")
    assert tags["mlflow.note.content"] == "\n\n".join(record["gate"]["reasons"])


def test_the_run_has_the_parameters_that_shaped_the_model(parent: Any) -> None:
    """The model's own, and the knobs of the stages as stage.knob."""
    assert parent.data.params.items() >= {
        "model": "elastic_net",
        "alpha": "0.01",
        "l1_ratio": "0.5",
        "split.holdout": "0.25",
        "tune.folds": "3",
        "train.coverage": "0.9",
    }.items()  # fmt: skip
    assert not any("candidates" in name for name in parent.data.params)


def test_the_run_has_the_figures_of_the_summary(parent: Any, registered: Project) -> None:
    """The same as `dvc metrics show`."""
    assert parent.data.metrics == read_json(registered.summary)


def test_every_trial_is_a_child_run(children: list[Any], registered: Project) -> None:
    """Named by model and number, with its parameters and cross-validated RMSE."""
    trials = read_json(registered.tuning)["trials"]
    assert [run.info.run_name for run in children] == [
        "mean 00", "single_feature 01", "elastic_net 02", "elastic_net 03"
    ]  # fmt: skip
    assert {run.info.status for run in children} == {"FINISHED"}
    assert [run.data.metrics["cv_rmse"] for run in children] == [trial["rmse"] for trial in trials]
    assert children[3].data.params == {"model": "elastic_net", "alpha": "0.01", "l1_ratio": "0.5"}
    assert set(children[0].data.metrics) == {"cv_rmse", "cv_rmse_std"}


def test_the_data_are_inputs_of_the_run(parent: Any, registered: Project) -> None:
    """With their context and digest."""
    inputs = {
        entry.tags[0].value: (entry.tags[0].key, entry.dataset.name, entry.dataset.digest)
        for entry in parent.inputs.dataset_inputs
    }
    assert inputs == {
        context: ("mlflow.data.context", f"rents ({context})", digest(path)[:36])
        for context, path in (("training", registered.train), ("holdout", registered.holdout))
    }


def test_files_and_pictures_are_attached(client: Any, parent: Any) -> None:
    """What a person needs to understand the run without the clone."""
    names = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert names >= {
        "metrics.json",
        "tuning.json",
        "dataset.yaml",
        "params.yaml",
        "predictions.csv",
    }
    assert names >= {"predicted_vs_actual.png", "residuals.png", "candidates.png", "slices.png"}
    cards = {item.path for item in client.list_artifacts(parent.info.run_id, "cards")}
    assert cards == {"cards/model-card.md", "cards/datasheet.md"}


def test_the_registered_model_has_a_description_and_aliases(client: Any) -> None:
    """From the contract; aliases as in the bundle store."""
    model = client.get_registered_model("rents")
    assert model.description == "Monthly rents. Monthly rent."
    assert {alias: str(version) for alias, version in model.aliases.items()} == {
        "champion": "1",
        "challenger": "1",
    }


def test_the_version_is_tied_to_run_and_bundle(
    client: Any, parent: Any, record: dict[str, Any], registered: Project
) -> None:
    """Its description is the model card; its tags say what it was made from."""
    version = client.get_model_version_by_alias("rents", "champion")
    assert version.run_id == parent.info.run_id
    assert version.tags.items() >= {
        "digest": record["digest"], "data": record["data"], "contract": record["contract"],
        "commit": "none", "verdict": "promote", "summary": parent.data.tags["summary"],
    }.items()  # fmt: skip
    card = (registered.cards / "model-card.md").read_text(encoding="utf-8")
    assert version.description == brief(card)


def test_the_model_loads_back_and_predicts_the_same(client: Any, registered: Project) -> None:
    """The scikit-learn flavour, as skops, with signature and example."""
    import mlflow

    rows = generate(CONTRACT, 20, seed=4)
    loaded = mlflow.sklearn.load_model("models:/rents@champion")
    trained = skops.io.load(registered.model, trusted=TRUSTED)
    assert loaded.predict(rows).tolist() == trained.predict(rows).tolist()
    info = mlflow.models.get_model_info("models:/rents@champion")
    assert info.signature.inputs.to_dict()[0]["tensor-spec"]["shape"] == (-1, 4)
    assert info.saved_input_example_info is not None
    assert info.flavors["sklearn"]["serialization_format"] == "skops"


def test_the_example_is_the_row_of_the_contract(client: Any) -> None:
    """Encoded as the model takes it."""
    import mlflow

    example = mlflow.models.Model.load("models:/rents@champion").load_input_example()
    assert np.asarray(example).tolist() == [[70.5, 3.0, 1.0, 4.0]]


def test_libraries_are_those_that_shape_a_model() -> None:
    """With their versions."""
    assert set(tracking.libraries()) == set(tracking.LIBRARIES)
    assert tracking.libraries()["numpy"] == np.__version__


def test_a_store_that_fails_is_a_fault_of_the_environment(
    unregistered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the store, and nothing is registered."""
    import sqlalchemy.exc
    from mlflow import MlflowClient

    def full(*_: object, **__: object) -> None:
        raise sqlalchemy.exc.OperationalError("insert", {}, Exception("disk is full"))

    monkeypatch.setattr(MlflowClient, "create_run", full)
    with pytest.raises(
        EnvironmentFault, match="MLflow at sqlite:.*mlflow.db failed: .*disk is full"
    ):
        register.run(unregistered)
    assert Store(unregistered.store).records() == []


def test_runs_without_a_model_are_published_once(published: Project) -> None:
    """In an experiment of their own; a half-made one is made anew."""
    figures = [
        tracking.Figures(f"run {n}", f"mark {n}", {"alpha": n}, {"rmse": 1.5}) for n in (1, 2)
    ]
    for _ in range(2):
        tracking.publish_runs(published, "others", "Runs of others", figures)
    with tracking.opened(published, "others") as runs:
        whole = runs.search(order=["run_name"])
        assert [(run.run_name, run.params, run.metrics) for run in whole] == [
            ("run 1", {"alpha": "1"}, {"rmse": 1.5}),
            ("run 2", {"alpha": "2"}, {"rmse": 1.5}),
        ]
        runs.client.set_terminated(whole[0].run_id, "FAILED")
    tracking.publish_runs(published, "others", "Runs of others", figures)
    with tracking.opened(published, "others") as runs:
        mended = runs.search(order=["run_name"])
    assert [(run.run_name, run.status) for run in mended] == [
        ("run 1", "FINISHED"),
        ("run 2", "FINISHED"),
    ]
    assert mended[0].run_id != whole[0].run_id
    assert mended[1].run_id == whole[1].run_id
