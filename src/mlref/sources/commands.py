"""Commands about the contract, and the import of labelled rows."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mlref.console import DryRun, progress, say, show, status
from mlref.console import table as table_of
from mlref.core.contract import load
from mlref.core.errors import MlrefError
from mlref.core.storage import Project
from mlref.registry.commands import Because, Time, change_of

app = typer.Typer()
contract = typer.Typer(no_args_is_help=True, help="Show or check config/dataset.yaml.")
app.add_typer(contract, name="contract")
labels = typer.Typer(no_args_is_help=True, help="Review labels, or add labelled rows.")
app.add_typer(labels, name="labels")


QUESTIONS = (
    ("What may a prediction be used for?", "Exploring this table."),
    ("What may be done with the data (licence)?", "None stated."),
    ("Which columns are about protected characteristics of people (names, with commas)?", "none"),
    ("What was measured, and how, for the columns in general?", "As its name says."),
    ("In which units (name=unit, with commas)?", "none"),
)
"""What is asked on a terminal, each with its default."""


@app.command()
def adopt(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet, or a folder of Parquet files.")],
    target: Annotated[str, typer.Option(metavar="COLUMN", help="The column to predict.")],
    id_: Annotated[
        list[str], typer.Option("--id", metavar="COLUMN", help="Names a row; may be repeated.")
    ] = [],  # noqa: B006 - typer copies it
    group: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Rows of one value stay together.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The test set holds the latest rows.")
    ] = None,
    ignore: Annotated[
        list[str], typer.Option(metavar="COLUMN", help="Left out; may be repeated.")
    ] = [],  # noqa: B006 - as above
    answers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Answers to the open questions, as YAML.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Compare file and contract; change nothing.")
    ] = False,
) -> None:
    """Draft config/dataset.yaml from a table: what can be measured is filled in, the rest is asked.

    Example:  mlref adopt houses.csv --target price --id house --answers answers.yaml
    """
    from mlref.core import config
    from mlref.core.errors import ContractError
    from mlref.core.storage import write_bytes
    from mlref.sources.adopt import adopt as run
    from mlref.sources.report import page
    from mlref.sources.table import Roles

    project, told = Project.here(), config.read(answers, ContractError) if answers else {}
    if not answers and not update and sys.stdin.isatty():
        told = _asked()
    if group and time:
        raise typer.BadParameter("rows are divided by --group or by --time, not by both")
    by, column = ("group", group) if group else ("time", time)
    split = {"by": by, "column": column} if column else None
    table, said = run(project, file, Roles(target, id_, split, ignore), told, update)
    rows = [(name, it.declared.get("type", "–"), it.evidence) for name, it in table.drafts.items()]
    show(table_of(("column", "type", "evidence"), rows))
    for sentence in said:
        say(sentence)
    if not update:
        write_bytes(project.adopted, page(table, said).encode())
        say(f"Pictures: {project.show(project.adopted)}")
        say("\nNext: mlref contract check\n      make train\n      make serve")


def _asked() -> dict[str, Any]:
    """Ask a person on the terminal, five questions at most."""
    use, licence, sensitive, meaning, units = (
        typer.prompt(question, default) for question, default in QUESTIONS
    )
    columns: dict[str, dict[str, Any]] = {}
    for name in [] if sensitive == "none" else sensitive.split(","):
        columns.setdefault(name.strip(), {})["sensitive"] = True
    for pair in [] if units == "none" else units.split(","):
        name, _, unit = pair.partition("=")
        columns.setdefault(name.strip(), {})["unit"] = unit.strip() or None
    every = {"sensitive": False, "meaning": meaning, "unit": None}
    return {"use": {"intended": use}, "licence": licence, "every_column": every, "columns": columns}


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
            column.type
            + (f" since {column.origin}" if column.origin else "")
            + " or null" * column.nullable,
            column.unit or "",
            ", ".join(map(str, column.allowed or ()))
            or " to ".join(f"{x:g}" for x in column.valid or ()),
            " to ".join(f"{x:g}" for x in column.expected or ()),
        )
        for column in declared.columns
    ]
    head = ("column", "title", "type", "unit", "valid or allowed", "expected")
    title = f"{declared.title} ({declared.name}), {declared.task}"
    show(table_of(head, rows, title))
    say("* sensitive\n")
    split = declared.split
    keys = {
        "identity": ", ".join(declared.identity) or "all features",
        "split": split.by + (f", {split.column}" if split.column else ""),
        "ignore": ", ".join(declared.ignore) or "nothing",
        "missing_target": declared.missing_target,
        "transform": declared.target.transform,
    }
    show(table_of(("key", "value"), keys.items()))
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
    if declared.source.kind != "sql":  # a query may take long
        from mlref.core.settings import load as load_settings
        from mlref.core.task import task_of
        from mlref.data.ingest import ingest
        from mlref.evaluation.power import outlook

        with contextlib.suppress(MlrefError):  # `ingest` says what is wrong with a source
            rows = len(ingest(declared, project.root))
            say(outlook(rows, load_settings(project.params), task_of(declared).title))
    from mlref.sources.check import small_slices

    for sentence in small_slices(project, declared):
        say(sentence)


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


@app.command()
def retrain(since: Time = None, because: Because = "", dry_run: DryRun = False) -> None:
    """Add the labelled predictions of the log to the source, run the pipeline, and register the model.

    With --since, rows from before that time are no longer trained on.

    Killed anywhere, the same command goes on. Exit code 1 when labels, a stage or the gate refuse.

    Example:  mlref retrain --since 2026-11-24T12:00 --because "the laboratory has new instruments"
    """
    from mlref.sources.retrain import retrain as run

    change = change_of(since, because)
    with status("retrain"):
        said = run(Project.here(), change, dry_run, progress)
    say(said)
