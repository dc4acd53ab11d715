"""What is found in the tracking store: search runs, read them, delete and restore them."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlref.core.errors import MlrefError, RunNotFound
from mlref.core.storage import Project
from mlref.tracking.store import database, open_store

if TYPE_CHECKING:
    import pandas as pd

PARENT = "mlflow.parentRunId"
NONE_YET = "There are no runs yet: run `make train`."
EXAMPLE = (
    """These work: --filter 'metrics.rmse < 60 and params.model = "elastic_net"' """
    "--sort 'metrics.rmse DESC'"
)
ALL = 100_000
"""Most runs that are read at once."""


def search(
    project: Project,
    experiment: str,
    condition: str = "",
    order: Sequence[str] = (),
    limit: int = ALL,
    trials: bool = True,
) -> "pd.DataFrame":
    """Live runs of an experiment, newest first unless ``order`` says otherwise.

    Parameters
    ----------
    condition : str
        In MLflow's filter language; empty for all.
    order : sequence of str
        Keys to sort by, each with ``DESC`` or not.
    trials : bool
        Whether to include child runs.

    Returns
    -------
    DataFrame
        A row a run; attributes, ``metrics.*``, ``params.*`` and ``tags.*`` in columns.

    Raises
    ------
    MlrefError
        When there is no such experiment, and when MLflow cannot read the condition or the order.
    EnvironmentFault
        When the store cannot be reached.
    """
    asked = [f"tags.`{PARENT}` IS NULL"] * (not trials) + [condition] * bool(condition.strip())
    if (file := database(project)) and not file.is_file():  # looking makes no store
        raise MlrefError(NONE_YET)
    with open_store(project) as client:
        if client.get_experiment_by_name(experiment) is None:
            known = ", ".join(sorted(found.name for found in client.search_experiments()))
            raise MlrefError(
                f"{NONE_YET} There is no experiment {experiment!r}; there are: {known}."
            )
        return _search(
            experiment_names=[experiment],
            filter_string=" and ".join(asked),
            order_by=list(order) or ["attributes.start_time DESC"],
            max_results=limit,
        )


def find(project: Project, reference: str, deleted: bool = False) -> dict[str, Any]:
    """The run with this id, start of an id (from 6 digits) or name, whichever its experiment.

    Raises
    ------
    RunNotFound
        When there is none, or more than one.
    """
    quote = '"' if "'" in reference else "'"
    wanted = [f"attributes.run_name = {quote}{reference}{quote}"] * ('"' not in reference)
    if re.fullmatch(r"[0-9a-f]{6,32}", reference):
        wanted.append(f"attributes.run_id LIKE '{reference}%'")
    found = {
        run["run_id"]: run
        for condition in wanted
        for run in _everywhere(project, condition, deleted)
    }
    if len(found) != 1:
        raise RunNotFound(reference, [f"{key} ({name(run)})" for key, run in found.items()])
    return next(iter(found.values()))


def is_finished(project: Project, run_id: str) -> bool:
    """Whether the store has a finished run of this id."""
    condition = f"attributes.run_id = '{run_id}' and attributes.status = 'FINISHED'"
    return bool(_everywhere(project, condition, deleted=False))


def children(project: Project, run_id: str, deleted: bool = False) -> list[dict[str, Any]]:
    """The trials of a run."""
    return _everywhere(project, f"tags.`{PARENT}` = '{run_id}'", deleted)


def name(run: dict[str, Any]) -> str:
    """What people call a run."""
    return str(run["tags.mlflow.runName"])


def versions(project: Project, model: str) -> dict[str, str]:
    """Run id to version of a registered model."""
    with open_store(project) as client:
        found = client.search_model_versions(f"name = '{model}'")
        return {version.run_id: str(version.version) for version in found if version.run_id}


def text(project: Project, run_id: str, artifact: str) -> str | None:
    """Content of a file that is attached to a run; None where there is none."""
    with open_store(project) as client, tempfile.TemporaryDirectory() as folder:
        if artifact not in {item.path for item in client.list_artifacts(run_id)}:
            return None
        path = client.download_artifacts(run_id, artifact, folder)
        return Path(path).read_text(encoding="utf-8")


def delete(project: Project, run_id: str) -> None:
    """Mark a run as deleted; MLflow keeps it until `mlflow gc`."""
    with open_store(project) as client:
        client.delete_run(run_id)


def restore(project: Project, run_id: str) -> None:
    """Take back a deletion."""
    with open_store(project) as client:
        client.restore_run(run_id)


def _everywhere(project: Project, condition: str, deleted: bool) -> list[dict[str, Any]]:
    from mlflow.entities import ViewType

    if (file := database(project)) and not file.is_file():
        return []
    view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
    with open_store(project):
        found = _search(
            search_all_experiments=True,
            filter_string=condition,
            run_view_type=view,
            max_results=ALL,
        )
    return [{str(key): cell for key, cell in row.items()} for row in found.to_dict("records")]


def _search(**asked: Any) -> "pd.DataFrame":
    import mlflow

    try:
        found: pd.DataFrame = mlflow.search_runs(**asked)
        return found
    except mlflow.exceptions.MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        reason = str(error).splitlines()[0].removeprefix("INVALID_PARAMETER_VALUE: ")
        raise MlrefError(f"MLflow cannot read this search: {reason}\n  {EXAMPLE}") from error
