"""The stages that choose and fit a model."""

from typing import Annotated

import typer

from mlref.console import say
from mlref.core.storage import Project

app = typer.Typer()


@app.command(rich_help_panel="Stages")
def tune(
    jobs: Annotated[
        int, typer.Option(help="Processes; their number changes no result.", min=1)
    ] = 1,
) -> None:
    """Compare the candidates of params.yaml by nested cross-validation; a killed search resumes.

    Example:  mlref tune --jobs 4
    """
    from mlref.training.tune import run

    say(f"tune: {run(Project.here(), jobs)}")  # it shows its own progress


@app.command(rich_help_panel="Stages")
def train() -> None:
    """Fit the chosen model and its prediction intervals.

    Example:  mlref train
    """
    from mlref.training.train import run

    say(f"train: {run(Project.here())}")
