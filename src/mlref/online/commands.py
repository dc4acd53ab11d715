"""The command that learns from ground truth as it comes."""

from typing import Annotated

import typer

from mlref.console import DryRun, progress, say, status
from mlref.core.storage import Project

app = typer.Typer()


@app.command(rich_help_panel="Monitoring")
def learn(
    replay: Annotated[
        bool,
        typer.Option("--replay", help="Learn the journal again: the same bytes must come out."),
    ] = False,
    propose: Annotated[
        bool, typer.Option("--propose", help="Then package what was learned, and ask the gate.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Learn the new labels of the champion's predictions, in micro-batches, without changing the champion.

    The champion must be linear. What was learned is in `models/online/`; killed anywhere, the same
    command goes on. --propose makes it a candidate, which becomes champion if the gate says so; with
    --dry-run nothing is registered. Exit code 1 when the champion is not linear, or the gate blocks.

    Example:  mlref learn --propose
    """
    from mlref.online.learn import learn as follow
    from mlref.online.propose import again
    from mlref.online.propose import propose as ask

    project = Project.here()
    with status("learn"):
        said = again(project) if replay else follow(project, progress)
        if propose and not replay:
            said = ask(project, dry_run)
    say(said)
