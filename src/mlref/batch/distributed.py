"""The engine for many machines: Dask maps the same function over the files, a task each."""

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path

from distributed import Client, as_completed

from mlref.batch.files import Job
from mlref.batch.run import Engine, Outcomes
from mlref.batch.score import LoadedModel, Scored, attempt
from mlref.bundle.predictor import Predictor
from mlref.core.errors import EnvironmentFault, MlrefError

Files = tuple[tuple[str, bytes], ...]

PATIENCE = 30
"""Seconds in which a scheduler answers."""


def cluster(scheduler: str | None, workers: int) -> Engine:
    """The engine of a Dask cluster.

    Parameters
    ----------
    scheduler : str or None
        Its address; None starts a cluster on this machine and stops it afterwards.
    workers : int
        How many processes such a cluster has.
    """

    def engine(jobs: Sequence[Job], model: LoadedModel) -> Outcomes:
        """Score the files."""
        if not jobs:
            return
        with _client(scheduler, workers) as client:
            # As the result of a task the bundle reaches each worker once, and is made again when its
            # worker dies; as an argument it would travel with each of the files.
            bundle = tuple((path.name, path.read_bytes()) for path in model.folder.iterdir())
            shipped = client.submit(tuple, bundle, pure=False)
            digest, version = model.predictor.digest, model.version
            futures = client.map(
                attempt_there, jobs, bundle=shipped, digest=digest, version=version, pure=False
            )
            waiting = dict(zip(futures, jobs, strict=True))
            for future in as_completed(futures):
                job, error = waiting.pop(future), future.exception()
                if error is not None:
                    raise EnvironmentFault(f"The cluster failed on {job.source.name}", error)
                yield job, future.result()
                future.release()

    return engine


def _client(scheduler: str | None, workers: int) -> Client:
    if scheduler is None:  # on any free port: 8787, its own choice, may be taken
        address = "127.0.0.1:0"
        return Client(n_workers=workers, threads_per_worker=1, dashboard_address=address)
    try:
        return Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        remedy = "Start one with `dask scheduler`, and workers with `dask worker ADDRESS`."
        what = f"No Dask scheduler answers at {scheduler}"
        raise EnvironmentFault(what, error, remedy) from error


def attempt_there(job: Job, bundle: Files, digest: str, version: str) -> Scored | MlrefError:
    """Score a file on a worker, with a bundle that came as names and contents of its files."""
    return attempt(job, arrived(bundle, digest, version))


@functools.lru_cache(maxsize=1)
def arrived(bundle: Files, digest: str, version: str) -> LoadedModel:
    """Check and load a bundle; once in a process."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in bundle:
            (Path(folder) / name).write_bytes(content)
        return LoadedModel(Predictor(Path(folder), digest), version, Path(folder))
