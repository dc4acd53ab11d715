"""MLflow's store: where it is, how it is opened, and its errors as one sentence."""

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mlref.core.errors import EnvironmentFault, MlrefError
from mlref.core.storage import Project, replacing, write_bytes

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

SQLITE = "sqlite:///"
EMBEDDED = f"{SQLITE}mlflow.db"
ARTIFACTS = "mlref:/mlartifacts"
"""Address of artefacts that says nothing of the clone's place, so that it can be moved or copied."""
NAMES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


def uri(project: Project) -> str:
    """Address of the store: MLFLOW_TRACKING_URI, or a SQLite file in the clone.

    The path of a SQLite file is relative to the clone, from whichever folder of it a command is called.
    """
    return _absolute(project, os.environ.get(NAMES[0]) or EMBEDDED)


def _absolute(project: Project, address: str) -> str:
    if not address.startswith(SQLITE):
        return address
    name, mark, options = address.removeprefix(SQLITE).partition("?")
    path = str(project.root / name)
    if "?" in path or unquote(path) != path:  # SQLAlchemy would read these as something else
        path = os.path.relpath(path)
    return f"{SQLITE}{path}{mark}{options}"


def server(project: Project) -> str | None:
    """Address of the tracking store that the user chose; None for the embedded one."""
    return None if uri(project) == _absolute(project, EMBEDDED) else uri(project)


def database(project: Project) -> Path | None:
    """The SQLite file of the store; None for a server."""
    address = os.environ.get(NAMES[0]) or EMBEDDED
    if not address.startswith(SQLITE):
        return None
    return project.root / address.removeprefix(SQLITE).partition("?")[0]


@contextlib.contextmanager
def open_store(project: Project) -> "Iterator[MlflowClient]":
    """Open the tracking store, made where there is none; what MLflow raises becomes one sentence.

    Raises
    ------
    EnvironmentFault
        When the store cannot be reached, read or written.
    """
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException

    try:
        yield _connect(project)
    except (MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        root: BaseException = error
        while (deeper := root.__cause__ or root.__context__) is not None:
            root = deeper
        reason = RuntimeError(getattr(root, "strerror", None) or str(error).splitlines()[0])
        raise EnvironmentFault(f"MLflow at {uri(project)} failed", reason) from error


def _connect(project: Project) -> "MlflowClient":
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    address, file = uri(project), database(project)
    if file is None:  # MLflow's own seven tries say nothing for minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    elif not file.exists():
        with replacing(file) as fresh:  # a kill would leave half the tables
            new = _absolute(project, f"{SQLITE}{os.path.relpath(fresh, project.root)}")
            mlflow.MlflowClient(new).search_experiments(max_results=1)
    chosen = {name: os.environ[name] for name in NAMES if name in os.environ}
    mlflow.set_tracking_uri(address)
    mlflow.set_registry_uri(address)
    for (
        name
    ) in NAMES:  # both calls leave their address in the environment, as if the user had chosen it
        os.environ.pop(name, None)
    os.environ.update(chosen)
    return mlflow.MlflowClient()


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


def experiment(project: Project, client: "MlflowClient", name: str, title: str) -> str:
    """Id of an experiment, which is made where there is none.

    Raises
    ------
    MlrefError
        When its artefacts would be written outside of this clone.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        place = ARTIFACTS if database(project) else None
        return client.create_experiment(name, place, {"mlflow.note.content": title})
    ours = (ARTIFACTS, (project.root / "mlartifacts").as_uri())
    if server(project) is None and found.artifact_location not in ours:
        raise MlrefError(
            f"The runs in mlflow.db have their files in {found.artifact_location}: an earlier version of"
            " mlref made it in another folder. Rename mlflow.db; `make train` then makes a new one."
        )
    return found.experiment_id


def unchanged(project: Project, **expected: object) -> bool:
    """Whether nobody has written to the store since ``remember`` was called with the same.

    Only the time of the store's file is looked at, so that MLflow need not be imported. A server is taken
    at its word.
    """
    if database(project) is None:
        return True
    path = _memory(project)
    return path.is_file() and path.read_bytes() == _state(project, expected)


def remember(project: Project, **expected: object) -> None:
    """Keep in mind that the store holds what is expected of it."""
    if database(project):
        write_bytes(_memory(project), _state(project, expected))


def _memory(project: Project) -> Path:
    return project.root / "mlflow.db.checked"


def _state(project: Project, expected: dict[str, object]) -> bytes:
    file = database(project)
    seen = (file.stat().st_mtime_ns, file.stat().st_size) if file and file.is_file() else None
    return json.dumps([seen, expected], sort_keys=True).encode()
