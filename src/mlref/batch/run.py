"""`mlref score`: files of any number and size, on one machine or on a cluster, all or nothing."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from mlref.batch import output as outputs
from mlref.batch.counts import check, lines, total
from mlref.batch.files import Job, absolute, plan, sweep
from mlref.batch.score import LoadedModel, Scored, open_model, score_file
from mlref.bundle.store import Store
from mlref.console import track
from mlref.core.errors import SHOWN, EnvironmentFault, MlrefError, NotPublished
from mlref.core.storage import Project, locked

Submit = Callable[[Job], Future[Scored]]
Engine = Callable[[LoadedModel], contextlib.AbstractContextManager[Submit]]
"""Gives, while it is entered, a function that has one file scored by that model, now or later."""


def run(
    project: Project,
    engine: Engine,
    inputs: Sequence[str],
    output: str,
    model: str = "champion",
    key: str | None = None,
    max_rejected: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> str:
    """Score files and say what became of their rows.

    Parameters
    ----------
    project : Project
        Whose bundle store has the model.
    engine : callable
        That of :func:`threads`, or of :mod:`mlref.batch.distributed`.
    inputs, output, model, key, max_rejected, overwrite, resume
        The arguments and options of the command; ``key`` is its ``--id``.

    Raises
    ------
    DataError
        When the input names nothing, or the output is there already.
    NotPublished
        When a file cannot be scored, or too many rows are rejected.
    EnvironmentFault
        When disk, network or cluster refuse.
    """
    start = time.perf_counter()
    loaded = open_model(Store(project.store), model)
    identity = loaded.identity
    if max_rejected is not None:
        check(max_rejected, total()["rows"])  # its form, before the work
    place = absolute(output)
    jobs = plan(inputs, place, key)
    with contextlib.nullcontext() if "://" in place else locked(Path(place) / ".lock"):
        parts = outputs.begin(place, jobs, identity, overwrite, resume)
        before = len(parts)
        sweep(place)
        _score([job for job in jobs if job not in parts], loaded, engine, parts)
        sweep(place)
        counts = total(part["counts"] for part in parts.values())
        if max_rejected is not None:
            check(max_rejected, counts["rows"])
        outputs.finish(place, parts, identity, counts)
    files = "1 file" if len(jobs) == 1 else f"{len(jobs)} files"
    again = f" ({before} scored before)" if before else ""
    by = f"{identity['name']} version {identity['version']} ({identity['digest'][:12]})"
    took = f"{time.perf_counter() - start:.1f} s"
    head = f"{counts['rows']['read']:,} rows of {files}{again} by {by} in {took}"
    written = f"Written: {output}" + (f", {output}.rejected" if counts["reasons"] else "")
    return "\n".join([head, *lines(counts), written])


def _score(
    jobs: Sequence[Job], model: LoadedModel, engine: Engine, parts: dict[Job, Scored]
) -> None:
    """Add the new parts.

    Raises
    ------
    EnvironmentFault
        The first one: a full disk or a broken network stops all the other files as well.
    MlrefError
        At the end, for the files that are refused.
    """
    failures, count = list[MlrefError](), len(parts) + len(jobs)
    with engine(model) as submit:
        futures = {submit(job): job for job in jobs}
        for _, future in zip(track("score", jobs), as_completed(futures), strict=True):
            try:
                parts[futures[future]] = future.result()
            except EnvironmentFault:
                raise
            except MlrefError as error:
                failures.append(error)
    if failures:
        about = [f"{len(failures)} of {count} files could not be scored; the others are done:"]
        about += [f"  {error}" for error in failures[:SHOWN]]
        about.append("Correct them, then run the same command with `--resume`.")
        raise failures[0] if count == 1 else NotPublished("\n".join(about))


def threads(count: int) -> Engine:
    """The engine of one machine: a thread for each core, a file at a time in each."""

    @contextlib.contextmanager
    def engine(model: LoadedModel) -> Iterator[Submit]:
        """Score files until the block ends; then those that are begun are finished, the others not."""
        pool = ThreadPoolExecutor(count)
        try:
            yield lambda job: pool.submit(score_file, job, model)
        finally:
            pool.shutdown(cancel_futures=True)

    return engine
