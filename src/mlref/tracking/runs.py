"""What is found in the tracking store: search runs, read them, delete and restore them."""

import contextlib
import datetime
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlref.core.errors import MlrefError, RunNotFound
from mlref.core.storage import Project
from mlref.tracking.store import connect, exists, experiment, faults

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

PARENT = "mlflow.parentRunId"
NEWEST = ("attributes.start_time DESC",)
NONE_YET = "There are no runs yet: run `make train`."
EXAMPLE = (
    """These work: --filter 'metrics.rmse < 60 and params.model = "elastic_net"' """
    "--sort 'metrics.rmse DESC'"
)
PAGE = 1000
"""Runs asked for at once."""


@dataclass(frozen=True)
class Run:
    """One run.

    Parameters
    ----------
    run_id, run_name, status : str
    start_time : datetime
        In UTC.
    experiment : str
        Id of the experiment.
    params, tags : dict of str to str
    metrics : dict of str to float
    """

    run_id: str
    run_name: str
    status: str
    start_time: datetime.datetime
    experiment: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]

    def cells(self) -> dict[str, object]:
        """Everything that can be a column of a table, under the names of MLflow's search."""
        found: dict[str, object] = {
            name: getattr(self, name) for name in ("run_id", "run_name", "status", "start_time")
        }
        found |= {f"params.{name}": value for name, value in self.params.items()}
        found |= {f"metrics.{name}": value for name, value in self.metrics.items()}
        return found | {f"tags.{name}": value for name, value in self.tags.items()}


@contextlib.contextmanager
def opened(project: Project, name: str) -> Iterator["Runs"]:
    """Open the runs of an experiment; nothing is made where there are none.

    Raises
    ------
    MlrefError
        When there is no store or no such experiment.
    EnvironmentFault
        When the store cannot be reached.
    """
    if not exists(project):
        raise MlrefError(NONE_YET)
    with faults(project):
        client = connect(project)
        identifier = experiment(project, client, name)
        if identifier is None:
            known = ", ".join(sorted(found.name for found in client.search_experiments()))
            raise MlrefError(f"{NONE_YET} There is no experiment {name!r}; there are: {known}.")
        yield Runs(client, identifier)


class Runs:
    """The runs of one experiment; by id or name also those of the others in the same store."""

    def __init__(self, client: "MlflowClient", experiment: str) -> None:
        self.client, self.experiment = client, experiment

    def search(
        self,
        condition: str = "",
        order: Sequence[str] = NEWEST,
        limit: int | None = None,
        trials: bool = True,
    ) -> list[Run]:
        """Live runs of the experiment.

        Parameters
        ----------
        condition : str
            In MLflow's filter language; empty for all.
        order : sequence of str
            Keys to sort by, each with ``DESC`` or not.
        limit : int or None
            Most runs to give.
        trials : bool
            Whether to include child runs.

        Raises
        ------
        MlrefError
            When MLflow cannot read the condition or the order, with its reason.
        """
        from mlflow.exceptions import MlflowException

        asked = [f"tags.`{PARENT}` IS NULL"] * (not trials) + [condition] * bool(condition.strip())
        try:
            return self._all([self.experiment], " and ".join(asked), order, limit)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            reason = str(error).splitlines()[0].removeprefix("INVALID_PARAMETER_VALUE: ")
            raise MlrefError(f"MLflow cannot read this search: {reason}\n  {EXAMPLE}") from error

    def find(self, reference: str, deleted: bool = False) -> Run:
        """The run with this id, start of an id (from 6 digits) or name.

        Raises
        ------
        RunNotFound
            When there is none, or more than one.
        """
        places = [found.experiment_id for found in self.client.search_experiments()]
        quote = '"' if "'" in reference else "'"
        wanted = [f"attributes.run_name = {quote}{reference}{quote}"] * ('"' not in reference)
        if re.fullmatch(r"[0-9a-f]{6,32}", reference):
            wanted.append(f"attributes.run_id LIKE '{reference}%'")
        found = {
            run.run_id: run
            for condition in wanted
            for run in self._all(places, condition, deleted=deleted)
        }
        if len(found) != 1:
            raise RunNotFound(
                reference, [f"{run.run_id} ({run.run_name})" for run in found.values()]
            )
        return next(iter(found.values()))

    def children(self, run: Run, deleted: bool = False) -> list[Run]:
        """The trials of a run."""
        condition = f"tags.`{PARENT}` = '{run.run_id}'"
        return self._all([run.experiment], condition, deleted=deleted)

    def versions(self, model: str) -> dict[str, str]:
        """Run id to version of a registered model."""
        found = self.client.search_model_versions(f"name = '{model}'")
        return {version.run_id: str(version.version) for version in found if version.run_id}

    def text(self, run: Run, artifact: str) -> str | None:
        """Content of a file that is attached to a run; None where there is none."""
        if artifact not in {item.path for item in self.client.list_artifacts(run.run_id)}:
            return None
        with tempfile.TemporaryDirectory() as folder:
            path = self.client.download_artifacts(run.run_id, artifact, folder)
            return Path(path).read_text(encoding="utf-8")

    def delete(self, run: Run) -> None:
        """Mark a run as deleted; MLflow keeps it until `mlflow gc`."""
        self.client.delete_run(run.run_id)

    def restore(self, run: Run) -> None:
        """Take back a deletion."""
        self.client.restore_run(run.run_id)

    def _all(
        self,
        experiments: list[str],
        condition: str,
        order: Sequence[str] = NEWEST,
        limit: int | None = None,
        deleted: bool = False,
    ) -> list[Run]:
        from mlflow.entities import ViewType

        view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
        found: list[Run] = []
        token = None
        while limit is None or len(found) < limit:
            most = PAGE if limit is None else min(PAGE, limit - len(found))
            page = self.client.search_runs(
                experiments, condition, view, most, list(order), page_token=token
            )
            found += [_plain(run) for run in page]
            token = page.token
            if not token:
                break
        return found


def _plain(run: "MlflowRun") -> Run:
    started = datetime.datetime.fromtimestamp(run.info.start_time / 1000, datetime.UTC)
    return Run(
        run_id=run.info.run_id,
        run_name=run.info.run_name,
        status=run.info.status,
        start_time=started,
        experiment=run.info.experiment_id,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
    )
