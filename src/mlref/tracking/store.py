"""MLflow's store: where it is, how it is opened, and its errors as one sentence."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mlref.core.errors import EnvironmentFault, root
from mlref.core.storage import Project, replacing

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

SQLITE = "sqlite:///"
ARTIFACTS = "mlref:/mlartifacts"
"""Address of artefacts that says nothing of the clone's place, so that it can be moved or copied."""
CHOSEN = "MLFLOW_TRACKING_URI"
MEMORY = "mlflow.db.checked"
DEFAULTS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # its own seven say nothing for minutes
}


def server() -> str | None:
    """Address of the store that the user chose; None for the embedded one."""
    return os.environ.get(CHOSEN) or None


def database(project: Project) -> Path | None:
    """The SQLite file of the store; None for a server."""
    address = server() or f"{SQLITE}mlflow.db"
    if not address.startswith(SQLITE):
        return None
    return project.root / address.removeprefix(SQLITE).partition("?")[0]


def uri(project: Project) -> str:
    """Address of the store."""
    file = database(project)
    return _address(file) if file else str(server())


def _address(file: Path) -> str:
    if "?" in str(file) or unquote(str(file)) != str(file):  # SQLAlchemy would read something else
        return f"{SQLITE}{os.path.relpath(file)}"
    return f"{SQLITE}{file}"


@contextlib.contextmanager
def open_store(project: Project) -> "Iterator[MlflowClient]":
    """Open the tracking store, made where there is none; what MLflow raises becomes one sentence.

    Raises
    ------
    EnvironmentFault
        When the store cannot be reached, read or written.
    """
    import mlflow
    import sqlalchemy.exc

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    chosen = server()
    try:
        if (file := database(project)) and not file.exists():
            with replacing(file) as fresh:  # a kill would leave half the tables
                mlflow.MlflowClient(_address(fresh)).search_experiments(max_results=1)
        mlflow.set_tracking_uri(uri(project))
        if not chosen:  # MLflow has noted the address there, as if the user had chosen it
            os.environ.pop(CHOSEN, None)
        yield mlflow.MlflowClient()
    except (mlflow.exceptions.MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        raise EnvironmentFault(f"MLflow at {uri(project)} failed", root(error)) from error


def experiment(project: Project, client: "MlflowClient", name: str, title: str) -> str:
    """Id of an experiment, which is made where there is none."""
    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    place = ARTIFACTS if database(project) else None
    return client.create_experiment(name, place, {"mlflow.note.content": title})


def beside_store(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> "LocalArtifactRepository":
    """Find the files of an address like ``ARTIFACTS`` beside the store's SQLite file.

    MLflow calls this by the entry point ``mlflow.artifact_repository`` in pyproject.toml. In a client of
    another store, such as the pages of `make ui`, the files are those of the clone around the working folder.
    """
    import mlflow
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    store, folder = tracking_uri or mlflow.get_tracking_uri(), Project.here().root
    if store.startswith(SQLITE):
        folder = Path(store.removeprefix(SQLITE).partition("?")[0]).resolve().parent
    place = folder / unquote(urlsplit(artifact_uri).path).lstrip("/")
    return LocalArtifactRepository(place.as_uri(), tracking_uri, registry_uri)


def unchanged(project: Project, *pointers: Path) -> bool:
    """Whether nobody has written to the store's file or the pointers since ``remember``, by their times.

    So MLflow need not be imported to look. A server is taken at its word.
    """
    files = [path for path in (database(project), *pointers) if path]
    memory = project.root / MEMORY
    return all(path.is_file() for path in (memory, *files)) and (
        memory.stat().st_mtime_ns >= max(path.stat().st_mtime_ns for path in files)
    )


def remember(project: Project) -> None:
    """Keep in mind that the store holds what it should."""
    (project.root / MEMORY).touch()
