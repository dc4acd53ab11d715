"""What is found in the tracking store: search its runs, read their files, delete and restore them."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlref.core.errors import MlrefError
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


def search(
    project: Project,
    experiment: str | None = None,
    condition: str = "",
    order: Sequence[str] = (),
    deleted: bool = False,
) -> "pd.DataFrame":
    """Runs of one experiment, or of all, newest first unless ``order`` says otherwise.

    Parameters
    ----------
    condition : str
        In MLflow's filter language; empty for all.
    order : sequence of str
        Keys to sort by, each with ``DESC`` or not.
    deleted : bool
        Whether to search the deleted runs instead of the live ones.

    Returns
    -------
    DataFrame
        A row a run; ``run_id``, ``run_name``, ``parent`` (null but for a trial), other attributes,
        ``metrics.*``, ``params.*`` and ``tags.*`` in columns.

    Raises
    ------
    MlrefError
        When there is no such experiment, and when MLflow cannot read the condition or the order.
    EnvironmentFault
        When the store cannot be reached.
    """
    if (file := database(project)) and not file.is_file():  # looking makes no store
        raise MlrefError(NONE_YET)
    with open_store(project) as client:
        import mlflow

        known = {found.name for found in client.search_experiments()}
        if experiment not in {None, *known}:
            there = ", ".join(sorted(known))
            raise MlrefError(
                f"{NONE_YET} There is no experiment {experiment!r}; there are: {there}."
            )
        kind = mlflow.entities.ViewType
        try:
            found: pd.DataFrame = mlflow.search_runs(
                experiment_names=[experiment or name for name in known],
                filter_string=condition,
                order_by=[*order] or ["attributes.start_time DESC"],
                run_view_type=kind.DELETED_ONLY if deleted else kind.ACTIVE_ONLY,
            )
        except mlflow.exceptions.MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            reason = str(error).splitlines()[0].removeprefix("INVALID_PARAMETER_VALUE: ")
            raise MlrefError(f"MLflow cannot read this search: {reason}\n  {EXAMPLE}") from error
    named = {"run_name": "tags.mlflow.runName", "parent": f"tags.{PARENT}"}
    return found.assign(**{name: found.get(tag) for name, tag in named.items()})


def text(project: Project, run_id: str, artifact: str) -> str | None:
    """Content of a file that is attached to a run; None where there is none."""
    with open_store(project) as client, tempfile.TemporaryDirectory() as folder:
        if artifact not in {item.path for item in client.list_artifacts(run_id)}:
            return None
        path = client.download_artifacts(run_id, artifact, folder)
        return Path(path).read_text(encoding="utf-8")


def delete(project: Project, run_ids: Iterable[str]) -> None:
    """Mark runs as deleted; MLflow keeps them until `mlflow gc`."""
    with open_store(project) as client:
        for run_id in run_ids:
            client.delete_run(run_id)


def restore(project: Project, run_ids: Iterable[str]) -> None:
    """Take back a deletion."""
    with open_store(project) as client:
        for run_id in run_ids:
            client.restore_run(run_id)
