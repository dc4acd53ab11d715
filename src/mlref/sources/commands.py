"""Commands about the contract, and the import of labelled rows."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from mlref.console import DryRun, say, show, table
from mlref.core.contract import load
from mlref.core.errors import MlrefError
from mlref.core.storage import Project

app = typer.Typer()
contract = typer.Typer(no_args_is_help=True, help="Show or check config/dataset.yaml.")
app.add_typer(contract, name="contract")
labels = typer.Typer(no_args_is_help=True, help="Review labels, or add labelled rows.")
app.add_typer(labels, name="labels")


@contract.command("show")
def show_contract() -> None:
    """Print the contract as a table.

    Example:  mlref contract show
    """
    declared = load(Project.here().contract)
    rows = [
        (
            column.name + " *" * column.sensitive,
            column.title + " (target)" * (column is declared.target),
            column.type + " or null" * column.nullable,
            column.unit or "",
            ", ".join(map(str, column.allowed or ()))
            or " to ".join(f"{x:g}" for x in column.valid or ()),
            " to ".join(f"{x:g}" for x in column.expected or ()),
        )
        for column in declared.columns
    ]
    head = ("column", "title", "type", "unit", "valid or allowed", "expected")
    title = f"{declared.title} ({declared.name}), {declared.task}"
    show(table(head, rows, title))
    say("* sensitive")
    for check in declared.promises:
        about = getattr(check, "column", "predictions")
        say(f"\nBehavioural check, {check.kind}: {about}. {check.reason}")


@contract.command()
def check() -> None:
    """List every mistake in the contract; without one, say how small a difference its rows can show.

    Example:  mlref contract check
    """
    project = Project.here()
    declared = load(project.contract)
    found = f"{len(declared.features)} features, target {declared.target.name}"
    say(f"{project.show(project.contract)} is sound: {found}.")
    if declared.source.kind == "sql":
        return  # a query may take long
    from mlref.core.settings import load as load_settings
    from mlref.data.ingest import ingest
    from mlref.evaluation.power import outlook

    with contextlib.suppress(MlrefError):  # `ingest` says what is wrong with a source
        rows = len(ingest(declared, project.root))
        say(outlook(rows, load_settings(project.params)))


@labels.command("import")
def import_labels(
    file: Annotated[
        Path,
        typer.Argument(
            help="A CSV file with the columns of the contract; `predicted_at` may be there too, the time"
            " that `mlref register --since` asks for."
        ),
    ],
    dry_run: DryRun = False,
) -> None:
    """Add labelled rows to the source: all of the file's that are new, or none when one is wrong.

    Example:  mlref labels import march.csv --dry-run
    """
    from mlref.sources.labels import add

    say(add(Project.here(), file, dry_run))
