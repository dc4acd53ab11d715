"""`mlref score`: files of any number and size, on one machine or on a cluster, all or nothing."""

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, NamedTuple

from mlref.batch.counts import Counts, Limit
from mlref.batch.files import Job, find, plan, sweep
from mlref.batch.model import Model
from mlref.batch.output import Output
from mlref.batch.part import Part, Tell, attempt
from mlref.batch.report import about_failures, progress, summary
from mlref.bundle.store import Store
from mlref.core.errors import EnvironmentFault, MlrefError, NotPublished
from mlref.core.storage import Project

if TYPE_CHECKING:
    from mlref.batch.log import Log

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
    to_log: bool = False


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
        When the input names nothing, or the output is there already.
    NotPublished
        When a file cannot be scored, or too many rows are rejected.
    EnvironmentFault
        When disk, network or cluster refuse.
    """
    start = time.perf_counter()
    model = Model.open(Store(project.store), request.model)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(_log(project, model)) if request.to_log else None
        lines = _run(request, engine, watched, start, model, log)
    return "\n".join(lines if log is None else [*lines, log.said()])


def _log(project: Project, model: Model) -> "Log":
    """Open the prediction log; a run without it does not import a database's library."""
    from mlref.batch.log import Log

    return Log(project, model)


def _run(
    request: Request, engine: Engine, watched: bool, start: float, model: Model,
    log: "Log | None",
) -> list[str]:  # fmt: skip
    limit = None if request.max_rejected is None else Limit.parse(request.max_rejected)
    sources = [source for given in request.inputs for source in find(given)]
    jobs = plan(sources, request.output, request.key, limit)
    output = Output(request.output, jobs, model)
    parts = output.begin(request.overwrite, request.resume)
    before = len(parts)
    sweep(jobs)
    todo = [job for job in jobs if job not in parts]
    late = limit is not None and not output.single  # the parts may be taken away at the end
    with progress(todo, watched) as tell:
        outcomes = engine(todo, model, tell)
        if log is not None and not late:
            outcomes = _logged(outcomes, log)
        failures = _collect(outcomes, parts, alone=len(jobs) == 1)
    sweep(jobs)
    counts = sum((part.counts for part in parts.values()), Counts())
    if limit is not None and late and not failures:
        output.limited(limit, counts)
    if log is not None and late:
        for job in todo:
            if job in parts:
                log.add(job, parts[job])
    if failures:
        raise NotPublished(about_failures(list(failures.values()), len(jobs)))
    output.finish(parts, counts)
    took = time.perf_counter() - start
    return [*summary(counts, model, request.output, len(jobs), before, took)]


def _logged(outcomes: Outcomes, log: "Log") -> Outcomes:
    """Log each part as it comes, while the next ones are scored."""
    with contextlib.closing(outcomes):
        for job, outcome in outcomes:
            if isinstance(outcome, Part):
                log.add(job, outcome)
            yield job, outcome


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


def _collect(outcomes: Outcomes, parts: dict[Job, Part], alone: bool) -> dict[Job, MlrefError]:
    """Add the new parts; what is returned are the files that gave none.

    Raises
    ------
    EnvironmentFault
        The first one: a full disk or a broken network stops all the other files as well.
    MlrefError
        What was wrong with a file that is ``alone``.
    """
    failures = {}
    with contextlib.closing(outcomes):
        for job, outcome in outcomes:
            if isinstance(outcome, Part):
                parts[job] = outcome
            elif alone or isinstance(outcome, EnvironmentFault):
                raise outcome
            else:
                failures[job] = outcome
    return failures
