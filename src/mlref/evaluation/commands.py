"""The stage that evaluates a bundle, and the review of labels."""

from pathlib import Path
from typing import Annotated

import typer

from mlref.console import say, stage, status
from mlref.core.storage import Project

app = typer.Typer()
labels = typer.Typer(no_args_is_help=True, help="Review labels, or add labelled rows.")
app.add_typer(labels, name="labels")


@app.command(rich_help_panel="Stages")
def evaluate() -> None:
    """Evaluate the bundle on the test set.

    Example:  mlref evaluate
    """
    from mlref.evaluation.evaluate import run

    stage("evaluate", run)


@labels.command()
def issues(
    output: Annotated[
        Path | None, typer.Option(help="Where the list goes, if not to reports/label_issues.csv.")
    ] = None,
    rows: Annotated[int, typer.Option(help="Length of the list.", min=1)] = 20,
) -> None:
    """List the labels that the other rows contradict, for people to look up.

    Example:  mlref labels issues --rows 50
    """
    from mlref.evaluation.label_issues import review

    with status("labels"):
        found = review(Project.here(), output, rows)
    say(found)
