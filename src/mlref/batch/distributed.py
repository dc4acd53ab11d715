"""The engine for many machines: Dask maps the same function over the files, a task each."""

import contextlib
import functools
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from distributed import Client

from mlref.batch.files import Job
from mlref.batch.run import Engine, Submit
from mlref.batch.score import LoadedModel, Scored, score_file
from mlref.bundle.predictor import Predictor
from mlref.core.errors import EnvironmentFault, MlrefError

Files = tuple[tuple[str, bytes], ...]

PATIENCE = 30
"""Seconds in which a scheduler answers."""

REMEDY = "Start one with `dask scheduler`, and workers with `dask worker ADDRESS`; then `--resume` goes on."


def cluster(scheduler: str | None, workers: int) -> Engine:
    """The engine of a Dask cluster.

    Parameters
    ----------
    scheduler : str or None
        Its address; None starts a cluster on this machine and stops it afterwards.
    workers : int
        How many processes such a cluster has.
    """

    # On any free port: 8787, Dask's own choice for its pages, may be taken.
    own = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    options = {"address": scheduler, "timeout": PATIENCE} if scheduler else own

    @contextlib.contextmanager
    def engine(model: LoadedModel) -> Iterator[Submit]:
        """Score files until the block ends."""
        try:
            with Client(**options) as client:
                # As the result of a task the bundle reaches each worker once, and is made again when
                # its worker dies; as an argument it would travel with each of the files.
                bundle = tuple((path.name, path.read_bytes()) for path in model.folder.iterdir())
                shipped = client.submit(tuple, bundle, pure=False)
                about, run = (shipped, model.predictor.digest, model.version), uuid.uuid4()
                pool = client.get_executor()
                yield lambda job: pool.submit(score_there, job, *about, key=f"{job.name} {run}")
        except MlrefError:
            raise
        except Exception as error:  # of a task: its key has the name of the file
            what = f"The cluster {scheduler or 'of this machine'} failed"
            raise EnvironmentFault(what, error, REMEDY) from error

    return engine


def score_there(job: Job, bundle: Files, digest: str, version: str) -> Scored:
    """Score a file on a worker, with a bundle that came as names and contents of its files."""
    return score_file(job, arrived(bundle, digest, version))


@functools.lru_cache(maxsize=1)
def arrived(bundle: Files, digest: str, version: str) -> LoadedModel:
    """Check and load a bundle; once in a process."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in bundle:
            (Path(folder) / name).write_bytes(content)
        return LoadedModel(Predictor(Path(folder), digest), version, Path(folder))
