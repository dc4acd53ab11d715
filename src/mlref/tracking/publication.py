"""Publish a trained model: its runs, its registered version and the aliases."""

import contextlib
import importlib.metadata
import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlref.core.contract import Contract
from mlref.core.errors import EnvironmentFault
from mlref.core.storage import Project
from mlref.tracking.store import connect, faults, make_experiment, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FINGERPRINT = "mlref.fingerprint"
LIBRARIES = ("mlref", "numpy", "onnx", "onnxruntime", "pandas", "scikit-learn", "skl2onnx", "skops")


@dataclass(frozen=True)
class Publication:
    """What a model is published with.

    Parameters
    ----------
    fingerprint : str
        Names this very training and evaluation; publishing it twice changes nothing.
    digest : str
        The bundle's.
    model : object
        The fitted scikit-learn Pipeline.
    trusted : list of str
        Types in it that skops may load although it does not know them.
    example : ndarray of float64, shape (1, features)
        One encoded row.
    parameters, metrics, tags : dict
        Of the parent run.
    trials : list of dict
        ``trial``, ``model``, ``parameters``, ``rmse``, ``rmse_std``: a child run each.
    datasets : dict of str to (Path, str, int)
        Context, such as training, to the file, the digest of its content and its rows.
    artifacts : list of Path
        Files and folders to attach.
    card : str
        Markdown that describes the registered version.
    registered : list of (int, str)
        Version and digest of every model that the bundle store has.
    """

    fingerprint: str
    digest: str
    model: Any
    trusted: list[str]
    example: Any
    parameters: dict[str, Any]
    metrics: dict[str, float]
    tags: dict[str, str]
    trials: list[dict[str, Any]]
    datasets: dict[str, tuple[Path, str, int]]
    artifacts: list[Path]
    card: str
    registered: list[tuple[int, str]]


@dataclass(frozen=True)
class Figures:
    """A run that made no model.

    Parameters
    ----------
    name, fingerprint : str
        What people see, and what says that it is there already.
    parameters, metrics : dict
    """

    name: str
    fingerprint: str
    parameters: dict[str, Any]
    metrics: dict[str, float]


def libraries() -> dict[str, str]:
    """Versions of the libraries that shape a model."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def publish(project: Project, contract: Contract, publication: Publication) -> tuple[str, str]:
    """Publish a model: a parent run, a child for each trial, a registered version.

    Returns
    -------
    run_id, version : str

    Raises
    ------
    EnvironmentFault
        When the tracking store cannot be reached or written.
    """
    with faults(project):
        client, experiment = open_store(project, contract)
        run = _finished(client, experiment, publication.fingerprint)
        if run is None:
            run = _log(client, experiment, contract, publication)
        elif publication.tags.items() - run.data.tags.items():  # committed since
            _describe(client, run.info.run_id, publication)
        version = _version(client, contract, publication, run)
        return run.info.run_id, version


def warm_up(project: Project, contract: Contract) -> None:
    """Import MLflow and open the store ahead of time; what is wrong with it is said by ``publish``."""
    with contextlib.suppress(EnvironmentFault), faults(project):
        open_store(project, contract)


def mirror(project: Project, contract: Contract, aliases: dict[str, str]) -> None:
    """Copy the bundle store's aliases, alias to digest, to MLflow's registered model."""
    with faults(project):
        client, _ = open_store(project, contract)
        versions = _versions(client, contract.name)
        for alias, digest in aliases.items():
            if digest in versions:
                client.set_registered_model_alias(contract.name, alias, versions[digest])


def _finished(client: "MlflowClient", experiment: str, fingerprint: str) -> "Run | None":
    """The run that was published before; what a crash left half-done is deleted."""
    runs = client.search_runs([experiment], f"tags.`{FINGERPRINT}` = '{fingerprint}'")
    whole = {
        run.info.run_id: run
        for run in runs
        if run.info.status == "FINISHED" and "mlflow.parentRunId" not in run.data.tags
    }
    for run in runs:
        if run.data.tags.get("mlflow.parentRunId", run.info.run_id) not in whole:
            client.delete_run(run.info.run_id)
    return next(iter(whole.values()), None)


def _log(
    client: "MlflowClient", experiment: str, contract: Contract, publication: Publication
) -> "Run":
    import mlflow
    from mlflow.entities import Dataset, DatasetInput, InputTag

    mark = {FINGERPRINT: publication.fingerprint}
    title = f"{publication.tags['model']} {publication.digest[:8]}"
    parent = client.create_run(experiment, tags=mark, run_name=title)
    parent_id = parent.info.run_id
    _fill(client, parent_id, publication.parameters, publication.metrics, {})
    client.log_inputs(parent_id, [
        DatasetInput(
            Dataset(
                f"{contract.name} ({context})", digest[:36], "local", json.dumps({"uri": path.name}),
                profile=json.dumps({"num_rows": rows}),
            ),
            [InputTag("mlflow.data.context", context)],
        )
        for context, (path, digest, rows) in publication.datasets.items()
    ])  # fmt: skip
    for trial in publication.trials:
        child = client.create_run(
            experiment,
            tags=mark | {"mlflow.parentRunId": parent_id},
            run_name=f"{trial['model']} {trial['trial']:02d}",
        )
        measured = {"cv_rmse": trial["rmse"], "cv_rmse_std": trial["rmse_std"]}
        _fill(
            client, child.info.run_id, {"model": trial["model"]} | trial["parameters"], measured, {}
        )
        client.set_terminated(child.info.run_id)
    _describe(client, parent_id, publication)
    with mlflow.start_run(run_id=parent_id), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.sklearn.log_model(
            publication.model,
            name="model",
            serialization_format="skops",
            skops_trusted_types=publication.trusted,
            signature=mlflow.models.infer_signature(
                publication.example, publication.model.predict(publication.example)
            ),
            input_example=publication.example,
            pip_requirements=[
                f"{name}=={version}" for name, version in libraries().items() if name != "mlref"
            ],
        )
    return client.get_run(parent_id)


def _describe(client: "MlflowClient", run_id: str, publication: Publication) -> None:
    for path in publication.artifacts:
        client.log_artifact(run_id, str(path))
    _fill(client, run_id, {}, {}, publication.tags)


def _fill(
    client: "MlflowClient", run_id: str, parameters: dict[str, Any], metrics: dict[str, float],
    tags: dict[str, str],
) -> None:  # fmt: skip
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    client.log_batch(
        run_id,
        [Metric(name, value, now, 0) for name, value in metrics.items()],
        [Param(name, str(value)) for name, value in parameters.items()],
        [RunTag(name, value) for name, value in tags.items()],
    )


def publish_runs(project: Project, name: str, title: str, figures: Sequence[Figures]) -> None:
    """Publish runs that made no model, in an experiment of their own; twice changes nothing.

    Raises
    ------
    EnvironmentFault
        When the tracking store cannot be reached or written.
    """
    with faults(project):
        client = connect(project)
        experiment = make_experiment(project, client, name, title)
        for run in figures:
            if _finished(client, experiment, run.fingerprint) is None:
                made = client.create_run(
                    experiment, tags={FINGERPRINT: run.fingerprint}, run_name=run.name
                )
                _fill(client, made.info.run_id, run.parameters, run.metrics, {})
                client.set_terminated(made.info.run_id)


def _versions(client: "MlflowClient", name: str) -> dict[str, str]:
    """Digest to version of every registered model."""
    found = client.search_model_versions(f"name = '{name}'")
    return {version.tags.get("digest", ""): str(version.version) for version in found}


def _version(
    client: "MlflowClient", contract: Contract, publication: Publication, run: "Run"
) -> str:
    """The registered version of this digest, made when there is none, with its card and tags."""
    name = contract.name
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(
            name, description=f"{contract.title}. {contract.target.meaning}"
        )
    known = _versions(client, name)
    assert run.outputs is not None, "a finished run of ours has logged its model"
    own = {
        "source": f"models:/{run.outputs.model_outputs[0].model_id}",
        "run_id": run.info.run_id,
        "model_id": run.outputs.model_outputs[0].model_id,
    }
    # A tracking store that was deleted has forgotten the earlier versions; they get their numbers back.
    for number, digest in [*sorted(publication.registered), (0, publication.digest)]:
        if digest in known:
            continue
        # A server takes no source without a scheme and an absolute path.
        forgotten = {"source": f"bundle-store:/{digest}", "description": "Only its bundle is left."}
        about: dict[str, Any] = own if digest == publication.digest else forgotten
        made = client.create_model_version(name, tags={"digest": digest}, **about)
        while int(made.version) < number:
            client.delete_model_version(name, made.version)
            made = client.create_model_version(name, tags={"digest": digest}, **about)
        known[digest] = str(made.version)
    version = known[publication.digest]
    client.update_model_version(name, version, publication.card)  # of the newest evaluation
    for key, value in publication.tags.items():
        if not key.startswith("mlflow."):
            client.set_model_version_tag(name, version, key, value)
    return version
