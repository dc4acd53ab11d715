"""What a person sees in MLflow."""

from typing import Any

import mlflow
import numpy as np
import pytest
import skops.io

from mlref.bundle.package import TRUSTED
from mlref.bundle.store import Store
from mlref.core.errors import EnvironmentFault
from mlref.core.rows import generate
from mlref.core.storage import Project, digest, read_json
from mlref.registry import register
from mlref.tracking.store import open_store
from tests.fakes import CONTRACT


@pytest.fixture
def record(registered: Project) -> dict[str, Any]:
    """The registration record of the one model."""
    return Store(registered.store).records()[0]


@pytest.fixture
def client(registered: Project) -> Any:
    """A client of the registered project's store, which is only read."""
    with open_store(registered) as opened:
        return opened


@pytest.fixture
def parent(client: Any, record: dict[str, Any]) -> Any:
    """The run of the model."""
    return client.get_run(record["run_id"])


def test_the_run_says_what_made_the_model_and_how_good_it_is(
    parent: Any, record: dict[str, Any], registered: Project
) -> None:
    assert parent.info.run_name == f"elastic_net {record['digest'][:8]}"
    assert parent.info.status == "FINISHED"
    assert parent.data.tags.items() >= {
        "model": "elastic_net", "digest": record["digest"], "verdict": "promote",
        "mlflow.note.content": "\n\n".join(record["gate"]["reasons"]),
    }.items()  # fmt: skip
    assert parent.data.params.items() >= {
        "model": "elastic_net", "alpha": "0.01", "l1_ratio": "0.5", "split.holdout": "0.25",
        "tune.folds": "3", "train.coverage": "0.9",
    }.items()  # fmt: skip
    assert parent.data.metrics.items() >= read_json(registered.summary).items()


def test_every_trial_is_a_child_run_that_shares_a_metric_with_it(
    client: Any, parent: Any, registered: Project
) -> None:
    condition = f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
    found = client.search_runs([parent.info.experiment_id], condition)
    by_name = {run.info.run_name: run for run in found}
    trials = read_json(registered.tuning)["trials"]
    assert set(by_name) == {f"{trial['model']} {trial['trial']:02d}" for trial in trials}
    for trial in trials:
        run = by_name[f"{trial['model']} {trial['trial']:02d}"]
        assert run.info.status == "FINISHED"
        assert run.data.metrics["cv_rmse"] == trial["rmse"]
        assert set(run.data.metrics) <= set(parent.data.metrics)
    last = by_name["elastic_net 03"]
    assert last.data.params == {"model": "elastic_net", "alpha": "0.01", "l1_ratio": "0.5"}


def test_data_files_and_pictures_are_attached(
    client: Any, parent: Any, registered: Project
) -> None:
    inputs = {
        entry.tags[0].value: (entry.dataset.name, entry.dataset.digest)
        for entry in parent.inputs.dataset_inputs
    }
    assert inputs == {
        context: (f"rents ({context})", digest(path)[:36])
        for context, path in (("training", registered.train), ("test", registered.holdout))
    }
    names = {
        item.path
        for folder in ("", "cards", "pictures")
        for item in client.list_artifacts(parent.info.run_id, folder)
    }
    assert names >= {
        "metrics.json", "tuning.json", "dataset.yaml", "params.yaml", "predictions.csv",
        "cards/model-card.md", "cards/datasheet.md", "pictures/predicted_vs_actual.png",
    }  # fmt: skip
    assert not any(name.endswith(".png") and "/" not in name for name in names)


def test_the_version_is_tied_to_run_and_bundle(
    client: Any, parent: Any, record: dict[str, Any]
) -> None:
    model = client.get_registered_model("rents")
    assert model.description == "Monthly rents. Monthly rent."
    version = client.get_model_version_by_alias("rents", "champion")
    assert (str(version.version), version.run_id) == ("1", parent.info.run_id)
    assert version.tags.items() >= {
        "digest": record["digest"], "data": record["data"], "contract": record["contract"],
        "commit": "none", "verdict": "promote", "summary": parent.data.tags["summary"],
    }.items()  # fmt: skip
    assert "cards/model-card.md" in version.description


def test_the_model_loads_back_and_predicts_the_same(client: Any, registered: Project) -> None:
    rows = generate(CONTRACT, 20, seed=4)
    loaded = mlflow.sklearn.load_model("models:/rents@champion")
    trained = skops.io.load(registered.model, trusted=TRUSTED)
    assert loaded.predict(rows).tolist() == trained.predict(rows).tolist()
    info = mlflow.models.get_model_info("models:/rents@champion")
    assert info.flavors["sklearn"]["serialization_format"] == "skops"
    example = mlflow.models.Model.load("models:/rents@champion").load_input_example()
    assert np.asarray(example).tolist() == [[70.5, 3.0, 1.0, 4.0]]


def test_a_store_that_fails_is_a_fault_of_the_environment(
    unregistered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlalchemy.exc

    def full(*_: object, **__: object) -> None:
        raise sqlalchemy.exc.OperationalError("insert", {}, Exception("disk is full"))

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", full)
    with pytest.raises(EnvironmentFault, match="MLflow at sqlite:.* failed: .*disk is full"):
        register.run(unregistered)
    assert Store(unregistered.store).records() == []
