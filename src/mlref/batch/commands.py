"""The command that scores files."""

import os
from typing import Annotated, Literal

import typer

from mlref.console import say
from mlref.core.storage import Project

app = typer.Typer()


@app.command(rich_help_panel="Batch")
def score(
    inputs: Annotated[
        list[str], typer.Argument(help="Files, folders, patterns or URLs of CSV or Parquet.")
    ],
    output: Annotated[str, typer.Argument(help="A new folder, for Parquet.")],
    model: Annotated[
        str, typer.Option(help="Version, alias or digest.", envvar="MLREF_MODEL")
    ] = "champion",
    id_: Annotated[
        str | None, typer.Option("--id", help="Column that names a row: no null, none twice.")
    ] = None,
    max_rejected: Annotated[
        str | None,
        typer.Option(help="Not complete above this share (1%) or number of rows."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run ended.")] = False,
    engine: Annotated[
        Literal["threads", "dask"],
        typer.Option(help="Threads of this machine, or a Dask cluster."),
    ] = "threads",
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler; without it one is started.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Files at a time; as many as cores by default.", min=1)
    ] = None,
) -> None:
    """Predict the rows of files; the output has all their columns and five more.

    Rows that the contract forbids go to OUTPUT.rejected, with the reason.

    Example:  mlref score data/raw scored
    """
    from mlref.batch.run import run, threads

    count = workers or os.cpu_count() or 1
    chosen = threads(count)
    if engine == "dask":
        from mlref.batch.distributed import cluster

        chosen = cluster(scheduler, count)
    asked = (inputs, output, model, id_, max_rejected, overwrite, resume)
    say(run(Project.here(), chosen, *asked))
