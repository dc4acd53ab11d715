"""Commands that tidy up the prediction log."""

from typing import Annotated

import typer

from mlref.console import DryRun, Yes, agreement, done
from mlref.core.storage import Project

app = typer.Typer()
log = typer.Typer(no_args_is_help=True, help="Tidy up the prediction log.")
app.add_typer(log, name="log")


@log.command("prune")
def log_prune(
    days: Annotated[
        int, typer.Argument(help="Keep rows newer than this many days.", min=0, max=20_000)
    ],
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Delete predictions, labels and rejected inputs older than so many days, after a question.

    From `predictions.db` or the database of `MLREF_LOG_URL`, and from the rows that wait for it. For a
    daily job: `--yes`.

    Example:  mlref log prune 90 --dry-run
    """
    from mlref.prediction_log.retention import prune

    done(prune(Project.here(), days, agreement("Delete these?", yes, dry_run)), dry_run)


@log.command("erase")
def log_erase(
    subject: Annotated[
        str,
        typer.Argument(
            help="As sent in `x-subject-id`; files that `mlref score` wrote are not searched."
        ),
    ],
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Delete the predictions for one subject and their labels, after a question.

    From `predictions.db` or the database of `MLREF_LOG_URL`, and from the rows that wait for it.

    Example:  mlref log erase patient-17 --dry-run
    """
    from mlref.prediction_log.retention import erase

    done(erase(Project.here(), subject, agreement("Delete these?", yes, dry_run)), dry_run)
