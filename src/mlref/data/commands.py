"""The stages that bring, check and split the data."""

import typer

from mlref.console import stage

app = typer.Typer()


@app.command(rich_help_panel="Stages")
def ingest() -> None:
    """Bring the contract's source to data/raw/.

    Example:  mlref ingest
    """
    from mlref.data.ingest import run

    stage("ingest", run)


@app.command(rich_help_panel="Stages")
def validate() -> None:
    """Validate the raw rows against the contract; write Data Docs.

    Example:  mlref validate
    """
    from mlref.data.validate import run

    stage("validate", run)


@app.command(rich_help_panel="Stages")
def split() -> None:
    """Divide the rows into a training and a test set; measure the profile.

    Example:  mlref split
    """
    from mlref.data.split import run

    stage("split", run)
