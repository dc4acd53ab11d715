"""The engine of many machines: the same function, mapped over the files by Dask, a task a file."""

import contextlib
from collections.abc import Iterator, Sequence

from distributed import Client, LocalCluster, as_completed

from mlref.batch.files import Job
from mlref.batch.model import Model, arrive
from mlref.batch.part import Tell, attempt
from mlref.batch.score import Engine, Outcomes
from mlref.core.errors import EnvironmentFault, MlrefError

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

    def engine(jobs: Sequence[Job], model: Model, tell: Tell) -> Outcomes:
        """Score the files."""
        if not jobs:
            return
        with _client(scheduler, workers) as client:
            # As the result of a task the model reaches each worker once, and is made again when its
            # worker dies; as an argument it would travel with each of the files.
            shipped = client.submit(arrive, *model.content, pure=False)
            futures = client.map(attempt, jobs, model=shipped, pure=False)
            waiting = dict(zip(futures, jobs, strict=True))
            for future in as_completed(futures):
                job, error = waiting.pop(future), future.exception()
                if error is not None:
                    raise EnvironmentFault(f"The cluster failed on {job.source.name}", error)
                outcome = future.result()
                if not isinstance(outcome, MlrefError):
                    tell(outcome.counts.read, job.source.size)
                future.release()
                yield job, outcome

    return engine


@contextlib.contextmanager
def _client(scheduler: str | None, workers: int) -> Iterator[Client]:
    if scheduler is None:
        with (
            # Any free port: without an address it takes 8787, and complains where that is taken.
            LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0"
            ) as local,
            Client(local) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        remedy = "Start one with `dask scheduler`, and workers with `dask worker ADDRESS`."
        raise EnvironmentFault(
            f"No Dask scheduler answers at {scheduler}", error, remedy
        ) from error
    with client:
        yield client
