"""`mlref score`: files of any number and size, on one machine or on a cluster, all or nothing."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NamedTuple

from mlref.batch.counts import Counts, check
from mlref.batch.files import Job, claimed, find, plan, sweep
from mlref.batch.score import Model, Part, Tell, attempt
from mlref.batch.write import Output
from mlref.bundle.store import Store
from mlref.core.errors import SHOWN, EnvironmentFault, MlrefError, NotPublished
from mlref.core.storage import Project

Outcomes = Generator[tuple[Job, Part | MlrefError], None, None]
Engine = Callable[[Sequence[Job], Model, Tell], Outcomes]
"""Scores files in any order, and gives each with its part or the reason why there is none."""


class Request(NamedTuple):
    """What is asked for: the options of the command."""

    inputs: Sequence[str]
    output: str
    model: str = "champion"
    key: str | None = None
    max_rejected: str | None = None
    overwrite: bool = False
    resume: bool = False


def run(project: Project, request: Request, engine: Engine, watched: bool = False) -> str:
    """Score files and say what became of their rows.

    Parameters
    ----------
    project : Project
        Whose bundle store has the model.
    request : Request
        What is scored, and where it goes.
    engine : callable
        That of :func:`threads`, or of :mod:`mlref.batch.distributed`.
    watched : bool
        Whether to draw a progress bar.

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
    model = open_model(Store(project.store), request.model)
    limit = request.max_rejected
    if limit is not None:
        check(limit, Counts.sum().rows)
    sources = [source for given in request.inputs for source in find(given)]
    jobs = plan(sources, request.output, request.key, limit)
    output = Output(request.output, jobs, model)
    with claimed(output.place):
        parts = output.begin(request.overwrite, request.resume)
        before = len(parts)
        sweep(jobs)
        todo = [job for job in jobs if job not in parts]
        with _progress(todo, watched) as tell:
            failures = _collect(engine(todo, model, tell), parts, alone=len(jobs) == 1)
        sweep(jobs)
        counts = Counts.sum(part.counts for part in parts.values())
        if failures:
            raise NotPublished(_about(failures, len(jobs)))
        if limit is not None and not output.single:
            output.check(limit, counts)
        output.finish(parts, counts)
    files = "1 file" if len(jobs) == 1 else f"{len(jobs)} files"
    took = time.perf_counter() - start
    identity = f"{model.predictor.contract.name} version {model.version}"
    head = f"{counts.rows['read']:,} rows of {files} by {identity} ({model.predictor.digest[:12]})"
    lines = [f"{head} in {took:.1f} s"]
    if before:
        lines.append(f"  {before} of the files had been scored before")
    return "\n".join([*lines, *summary(counts, request.output)])


def open_model(store: Store, reference: str) -> Model:
    """Load a model of the bundle store; see :meth:`mlref.bundle.store.Store.open`."""
    predictor, record = store.open(reference)
    return Model(predictor, str(record["version"]), store.folder / predictor.digest)


def threads(count: int) -> Engine:
    """The engine of one machine: a thread for each core, a file at a time in each."""

    def engine(jobs: Sequence[Job], model: Model, tell: Tell) -> Outcomes:
        """Score the files."""
        stop = threading.Event()

        def told(rows: int, size: float) -> None:
            """Pass on, or end a file that nobody waits for any more."""
            if stop.is_set():
                raise InterruptedError
            tell(rows, size)

        with ThreadPoolExecutor(count) as pool:
            futures = {pool.submit(attempt, job, model, told): job for job in jobs}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)

    return engine


def _collect(outcomes: Outcomes, parts: dict[Job, Part], alone: bool) -> list[MlrefError]:
    """Add the new parts; what is returned are the refusals of the files that gave none.

    Raises
    ------
    EnvironmentFault
        The first one: a full disk or a broken network stops all the other files as well.
    MlrefError
        What was wrong with a file that is ``alone``.
    """
    failures = []
    with contextlib.closing(outcomes):
        for job, outcome in outcomes:
            if isinstance(outcome, Part):
                parts[job] = outcome
            elif alone or isinstance(outcome, EnvironmentFault):
                raise outcome
            else:
                failures.append(outcome)
    return failures


@contextlib.contextmanager
def _progress(jobs: Sequence[Job], watched: bool) -> Iterator[Tell]:
    """A bar over the bytes of the input, with rows, rate and time left."""
    if not watched:
        yield lambda rows, size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TimeRemainingColumn

    head, rows = "score", "{task.fields[rows]:,} rows · {task.fields[rate]:,.0f} a second · left"
    columns = (head, BarColumn(), "{task.percentage:.0f} %", rows, TimeRemainingColumn())
    start, done, lock = time.perf_counter(), 0, threading.Lock()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("score", total=sum(job.source.size for job in jobs), rows=0, rate=0.0)

        def tell(rows: int, size: float) -> None:
            nonlocal done
            with lock:
                done += rows
                rate = done / (time.perf_counter() - start)
                bar.update(task, advance=size, rows=done, rate=rate)

        yield tell


def _about(failures: Sequence[MlrefError], count: int) -> str:
    """Which files could not be scored, and what to do."""
    lines = [f"{len(failures)} of {count} files could not be scored; the others are done:"]
    lines += [f"  {error}" for error in failures[:SHOWN]]
    if len(failures) > SHOWN:
        lines.append(f"  … and {len(failures) - SHOWN} more")
    return "\n".join([*lines, "Correct them, then run the same command with `--resume`."])


def summary(counts: Counts, output: str) -> Iterator[str]:
    """What became of the rows, as lines: unusual cells by column, bad ones with an example."""
    yield f"  scored    {counts.rows['scored']:>13,}"
    yield f"  warned    {counts.rows['warned']:>13,}"
    yield from _most(counts.warnings)
    yield f"  rejected  {counts.rows['rejected']:>13,}"
    yield from _most(
        Counter(
            {
                f"{reason}; for example {counts.examples[reason]}": count
                for reason, count in counts.reasons.items()
            }
        )
    )
    yield f"Written: {output}" + (f", {output}.rejected" if counts.reasons else "")


def _most(found: Counter[str]) -> Iterator[str]:
    for name, number in found.most_common(SHOWN):
        yield f"            {number:>13,}  {name}"
    if len(found) > SHOWN:
        yield f"            … for {len(found) - SHOWN} more"
