"""`mlref score`: files of any number and size, on one machine or on a cluster, all or nothing."""

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from mlref.batch.counts import Counts, check
from mlref.batch.files import Job, claimed, find, plan, sweep
from mlref.batch.output import Output
from mlref.batch.score import LoadedModel, Scored, attempt, open_model
from mlref.bundle.store import Store
from mlref.console import track
from mlref.core.errors import SHOWN, EnvironmentFault, MlrefError, NotPublished
from mlref.core.storage import Project

Outcomes = Generator[tuple[Job, Scored | MlrefError], None, None]
Engine = Callable[[Sequence[Job], LoadedModel], Outcomes]
"""Scores files in any order, and gives each with its part or the reason why there is none."""


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
        When the input names nothing, the output is there already, or another run writes into it.
    NotPublished
        When a file cannot be scored, or too many rows are rejected.
    EnvironmentFault
        When disk, network or cluster refuse.
    """
    start = time.perf_counter()
    loaded = open_model(Store(project.store), model)
    if max_rejected is not None:
        check(max_rejected, Counts.sum().rows)  # its form, before the work
    jobs = plan([source for one in inputs for source in find(one)], output, key, max_rejected)
    out = Output(output, jobs, loaded)
    with claimed(out.place):
        parts = out.begin(overwrite, resume)
        before = len(parts)
        sweep(jobs)
        failures = _collect(engine, [job for job in jobs if job not in parts], loaded, parts)
        sweep(jobs)
        if len(jobs) == 1 and failures:
            raise failures[0]
        if failures:
            raise NotPublished(_about(failures, len(jobs)))
        counts = Counts.sum(part.counts._asdict() for part in parts.values())
        if max_rejected is not None and not out.single:
            try:
                check(max_rejected, counts.rows)
            except NotPublished:
                out.clear()
                raise
        out.finish(parts, counts)
    files = "1 file" if len(jobs) == 1 else f"{len(jobs)} files"
    took = time.perf_counter() - start
    identity = f"{loaded.predictor.contract.name} version {loaded.version}"
    head = f"{counts.rows['read']:,} rows of {files} by {identity} ({loaded.predictor.digest[:12]})"
    lines = [f"{head} in {took:.1f} s"]
    if before:
        lines.append(f"  {before} of the files had been scored before")
    written = f"Written: {output}" + (f", {output}.rejected" if counts.reasons else "")
    return "\n".join([*lines, *counts.lines(), written])


def threads(count: int) -> Engine:
    """The engine of one machine: a thread for each core, a file at a time in each."""

    def engine(jobs: Sequence[Job], model: LoadedModel) -> Outcomes:
        """Score the files."""
        stop = threading.Event()
        with ThreadPoolExecutor(count) as pool:
            futures = {pool.submit(attempt, job, model, stop.is_set): job for job in jobs}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)

    return engine


def _collect(
    engine: Engine, jobs: Sequence[Job], model: LoadedModel, parts: dict[Job, Scored]
) -> list[MlrefError]:
    """Add the new parts; what is returned are the refusals of the files that gave none.

    Raises
    ------
    EnvironmentFault
        The first one: a full disk or a broken network stops all the other files as well.
    """
    failures = []
    with contextlib.closing(engine(jobs, model)) as outcomes:
        for _, (job, outcome) in zip(track("score", jobs), outcomes, strict=True):
            if isinstance(outcome, Scored):
                parts[job] = outcome
            elif isinstance(outcome, EnvironmentFault):
                raise outcome
            else:
                failures.append(outcome)
    return failures


def _about(failures: Sequence[MlrefError], count: int) -> str:
    """Which files could not be scored, and what to do."""
    lines = [f"{len(failures)} of {count} files could not be scored; the others are done:"]
    lines += [f"  {error}" for error in failures[:SHOWN]]
    if len(failures) > SHOWN:
        lines.append(f"  … and {len(failures) - SHOWN} more")
    return "\n".join([*lines, "Correct them, then run the same command with `--resume`."])
