"""What commands print: results, tables, progress, and questions before something is deleted."""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Annotated, Any

import typer

from mlref.core.errors import MlrefError
from mlref.core.storage import Project

WIDEST = 40
"""Characters of a cell that are shown in a terminal before it takes another line."""

EVERY = 30.0
"""Seconds between two lines about work that nobody watches."""

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen; change nothing.")]


def quiet() -> bool:
    """Whether `--quiet` was given: then only errors are printed."""
    return bool(os.environ.get("MLREF_QUIET"))


def say(text: str) -> None:
    """Print a result."""
    if not quiet():
        typer.echo(text)


def progress(line: str) -> None:
    """Print on standard error what has been done so far."""
    if not quiet():
        typer.echo(line, err=True)


def watched() -> bool:
    """Whether somebody looks at the progress: standard error is a terminal."""
    return sys.stderr.isatty() and not quiet()


def status(name: str) -> contextlib.AbstractContextManager[object]:
    """Show a spinner while the block runs and somebody looks."""
    if not watched():
        return contextlib.nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(f"{name} …")


def stage(name: str, run: Callable[[Project], str]) -> None:
    """Run a stage in this clone and print what it did."""
    with status(name):
        sentence = run(Project.here())
    say(f"{name}: {sentence}")


def track(name: str, work: Iterable[Any], count: int | None = None) -> Iterator[Any]:
    """Give the ``count`` items of ``work`` one by one, and show how far it is.

    A person sees a progress bar. Elsewhere a line now and then says how many are done, and the time left.
    """
    count = len(work) if count is None and isinstance(work, Sized) else count or 0
    if watched():
        from rich.console import Console
        from rich.progress import track as bar

        yield from bar(work, name, count, console=Console(stderr=True), transient=True)
        return
    began = told = time.monotonic()
    for done_, item in enumerate(work, 1):
        yield item
        now = time.monotonic()
        if now - told >= EVERY and done_ < count:
            told, left = now, (now - began) * (count - done_) / done_ / 60
            progress(f"{name}: {done_} of {count}, about {left:.0f} min left")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> Any:
    """Make a table that fits the terminal; in a pipe every line is whole.

    Columns that find no room are left out, and named beneath.
    """
    from rich.cells import cell_len
    from rich.console import Group
    from rich.table import Column, Table

    rows = list(rows)
    room = _width()
    shown, missing = list[int](), list[str]()
    for place, column in enumerate(zip(head, *rows, strict=True)):
        needed = min(max(map(cell_len, column)), WIDEST) + 2
        if shown and (missing or needed > room + 2):
            missing.append(head[place])
            continue
        room -= needed
        shown.append(place)
    columns = [Column(head[place], overflow="fold") for place in shown]
    made = Table(*columns, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    made.title, made.title_justify, made.title_style = title or None, "left", "bold"
    for row in rows:
        made.add_row(*(row[place] for place in shown))
    return Group(made, f"No room for: {', '.join(missing)}.") if missing else made


def show(renderable: Any) -> None:
    """Print a table or tree of :mod:`rich`."""
    if quiet():
        return
    from rich.console import Console

    console = Console(width=_width(), highlight=False, markup=False)
    with console.capture() as printed:
        console.print(renderable)
    typer.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000


Shown = tuple[Sequence[str], Sequence[Sequence[str]]]
Agreed = Callable[[Shown], bool]


def agreement(question: str, yes: bool, dry_run: bool) -> Agreed:
    """Make a function that shows what is about to change as a table, and asks."""

    def agreed(shown: Shown) -> bool:
        """Show the table and ask, unless the answer was given before."""
        show(table(*shown))
        if dry_run or yes:
            return yes and not dry_run
        if not sys.stdin.isatty():
            raise MlrefError(
                f"{question} Nobody is there to answer: add --yes, or --dry-run to look."
            )
        return typer.confirm(question)

    return agreed


def done(sentence: str | None, dry_run: bool) -> None:
    """Print what was done; nothing done without a dry run is exit code 1."""
    say(sentence or "Nothing was changed.")
    if not sentence and not dry_run:
        raise typer.Exit(1)
