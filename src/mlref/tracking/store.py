"""MLflow's store: where it is, how it is opened, what can be asked of it without importing MLflow."""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from mlref.core.contract import Contract
from mlref.core.errors import EnvironmentFault
from mlref.core.storage import Project, replacing

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"


def _database(project: Project) -> Path:
    return project.root / "mlflow.db"


def _embedded(project: Project) -> str:
    return f"{SQLITE}{quote(str(_database(project)))}"


def uri(project: Project) -> str:
    """Where runs go: MLFLOW_TRACKING_URI, or a SQLite file in the clone.

    The path of a SQLite file is relative to the clone, from whichever folder of it a command is called.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI") or _embedded(project)
    if given.startswith(SQLITE):
        name, mark, options = given.removeprefix(SQLITE).partition("?")
        path = project.root / unquote(name)
        return f"{SQLITE}{quote(str(path.parent.resolve() / path.name))}{mark}{options}"
    return given


def server(project: Project) -> str | None:
    """Address of the tracking store that the user chose; None for the embedded one."""
    return None if uri(project) == _embedded(project) else uri(project)


def exists(project: Project) -> bool:
    """Whether there is a store to read; a server is taken at its word."""
    chosen = uri(project)
    if not chosen.startswith(SQLITE):
        return True
    return Path(unquote(chosen.removeprefix(SQLITE).partition("?")[0])).is_file()


def holds(project: Project, run_id: str) -> bool:
    """Whether the store has the run, asked without MLflow; a server is taken at its word."""
    query = "select status, lifecycle_stage from runs where run_uuid = ?"
    return bool(server(project)) or _ask(project, query, run_id) == [("FINISHED", "active")]


def mirrors(project: Project, aliases: dict[str, str]) -> bool:
    """Whether the store's aliases name the models of these digests; asked like ``holds``."""
    query = (
        "select a.version from registered_model_aliases a join model_version_tags t"
        " on t.name = a.name and t.version = a.version"
        " where a.alias = ? and t.key = 'digest' and t.value = ?"
    )
    return bool(server(project)) or all(
        _ask(project, query, alias, digest) for alias, digest in aliases.items()
    )


def _ask(project: Project, query: str, *values: str) -> list[tuple[object, ...]]:
    """Rows of the embedded store; none where it is missing or broken."""
    try:
        address = f"{_database(project).as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as db:
            return db.execute(query, values).fetchall()
    except sqlite3.Error:
        return []


@contextlib.contextmanager
def faults(project: Project) -> Iterator[None]:
    """Turn what MLflow raises into one sentence.

    Raises
    ------
    EnvironmentFault
        When the tracking store cannot be reached, read or written.
    """
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        root: BaseException = error
        while (deeper := root.__cause__ or root.__context__) is not None:
            root = deeper
        plain = getattr(root, "strerror", None) or str(error).splitlines()[0]
        reason = RuntimeError(plain)
        raise EnvironmentFault(f"MLflow at {uri(project)} failed", reason) from error


def open_store(project: Project, contract: Contract) -> "tuple[MlflowClient, str]":
    """Open the tracking store, made where there is none: a client and the experiment's id."""
    client = connect(project)
    return client, make_experiment(project, client, contract.name, contract.title)


def connect(project: Project) -> "MlflowClient":
    """A client of the tracking store, which is made where there is none."""
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    if server(project):  # MLflow's own seven tries say nothing for minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    elif not _database(project).exists():
        with replacing(_database(project)) as fresh:  # a kill would leave half the tables
            mlflow.MlflowClient(f"{SQLITE}{quote(str(fresh))}").search_experiments(max_results=1)
    mlflow.set_tracking_uri(uri(project))
    mlflow.set_registry_uri(uri(project))
    return mlflow.MlflowClient()


def experiment(project: Project, client: "MlflowClient", name: str) -> str | None:
    """Id of an experiment, None where there is none; its artefacts follow a moved clone."""
    found = client.get_experiment_by_name(name)
    if found is None:
        return None
    local = _artifacts(project)
    if local and found.artifact_location != local:
        _move(_database(project), found.artifact_location, local)
    return found.experiment_id


def make_experiment(project: Project, client: "MlflowClient", name: str, title: str) -> str:
    """Id of an experiment, which is made where there is none."""
    known = experiment(project, client, name)
    if known is None:
        known = client.create_experiment(name, artifact_location=_artifacts(project))
        client.set_experiment_tag(known, "mlflow.note.content", title)
    return known


def _artifacts(project: Project) -> str | None:
    """Where the embedded store keeps artefacts; a server knows by itself."""
    return None if server(project) else (project.root / "mlartifacts").as_uri()


def _move(database: Path, old: str, new: str) -> None:
    """Follow a clone to its new folder: MLflow 3.17 stores artefact locations as absolute addresses."""
    places = {
        "experiments": ("artifact_location",), "runs": ("artifact_uri",),
        "logged_models": ("artifact_location",), "model_versions": ("source", "storage_location"),
    }  # fmt: skip
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        for table, columns in places.items():
            for column in columns:
                db.execute(
                    f"update {table} set {column} = ? || substr({column}, ?)"
                    f" where {column} = ? or {column} like ? || '/%'",
                    (new, len(old) + 1, old, old),
                )
