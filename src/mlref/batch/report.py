"""What a run of batch scoring tells its user: a bar while it goes on, a summary, what failed."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence

from mlref.batch.counts import Counts
from mlref.batch.files import Job
from mlref.batch.model import Model
from mlref.batch.part import Tell
from mlref.core.errors import SHOWN, MlrefError


@contextlib.contextmanager
def progress(jobs: Sequence[Job], watched: bool) -> Iterator[Tell]:
    """A bar over the bytes of the input, with rows, rate and time left."""
    if not watched:
        yield lambda rows, size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("score"), BarColumn(), TextColumn("{task.percentage:.0f} %"),
        TextColumn("{task.fields[rows]:,} rows · {task.fields[rate]:,.0f} a second · left"),
        TimeRemainingColumn(),
    )  # fmt: skip
    start, rows_done, lock = time.perf_counter(), 0, threading.Lock()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("score", total=sum(job.source.size for job in jobs), rows=0, rate=0.0)

        def tell(rows: int, size: float) -> None:
            nonlocal rows_done
            with lock:
                rows_done += rows
                rate = rows_done / (time.perf_counter() - start)
                bar.update(task, advance=size, rows=rows_done, rate=rate)

        yield tell


def about_failures(failures: Sequence[MlrefError], count: int) -> str:
    """Which files could not be scored, and what to do."""
    lines = [f"{len(failures)} of {count} files could not be scored; the others are done:"]
    lines += [f"  {error}" for error in failures[:SHOWN]]
    if len(failures) > SHOWN:
        lines.append(f"  … and {len(failures) - SHOWN} more")
    lines.append("Mend them, then run the same command with `--resume`.")
    return "\n".join(lines)


def summary(
    counts: Counts, model: Model, output: str, files: int, before: int, took: float
) -> Iterator[str]:
    """What became of the rows, as lines."""
    identity = model.identity
    yield (
        f"{counts.read:,} rows of {files} {'file' if files == 1 else 'files'} by {identity['name']}"
        f" version {identity['version']} ({identity['digest'][:12]}) in {took:.1f} s"
    )
    if before:
        yield f"  {before} of the files had been scored before"
    yield f"  scored    {counts.scored:>13,}"
    yield f"  warned    {counts.warned:>13,}"
    yield f"  rejected  {counts.rejected:>13,}"
    for reason, number in counts.reasons.most_common(SHOWN):
        yield f"            {number:>13,}  {reason}"
    if len(counts.reasons) > SHOWN:
        yield f"            … for {len(counts.reasons) - SHOWN} more reasons"
    yield f"Written: {output}" + (f", {output}.rejected" if counts.rejected else "")
