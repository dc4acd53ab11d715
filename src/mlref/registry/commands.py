"""Commands that register, promote and inspect models and runs."""

import datetime
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlref.bundle.store import Store
from mlref.console import DryRun, Yes, agreement, done, progress, say, show, status, table
from mlref.core.storage import Project

if TYPE_CHECKING:
    from mlref.registry.register import Since

app = typer.Typer()
runs = typer.Typer(no_args_is_help=True, help="Search, compare and tidy up the runs in MLflow.")
app.add_typer(runs, name="runs", rich_help_panel="Registry")

Reason = Annotated[str, typer.Option(help="Why, for the audit trail.", metavar="TEXT")]


def past(text: str) -> datetime.datetime:
    """A time in the past; UTC where it names no zone."""
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"a time such as 2026-11-24T12:00, not {text!r}") from error
    time = time if time.tzinfo else time.replace(tzinfo=datetime.UTC)
    if time > datetime.datetime.now(datetime.UTC):
        raise typer.BadParameter(f"{text} is in the future: no row is from after it")
    return time.astimezone(datetime.UTC)


Time = Annotated[
    datetime.datetime | None,
    typer.Option(
        help="Compare on rows after this time, when the concept changed; UTC where no zone is"
        " given. Needs --because.",
        metavar="TIME", parser=past,
    ),
]  # fmt: skip
Because = Annotated[
    str, typer.Option(help="How the change is known, for the audit trail.", metavar="TEXT")
]


def change_of(since: datetime.datetime | None, because: str) -> "Since | None":
    """The change of concept that --since and --because name; neither is given without the other."""
    from mlref.registry.register import Since

    if bool(since) != bool(because.strip()):
        raise typer.BadParameter("--since TIME and --because TEXT need each other.")
    return Since(since, because.strip()) if since else None


@app.command(rich_help_panel="Registry")
def register(
    explain: Annotated[
        bool, typer.Option("--explain", help="Print every check of the gate as a table.")
    ] = False,
    since: Time = None,
    because: Because = "",
    dry_run: DryRun = False,
) -> None:
    """Publish the trained model, ask the gate, and point the aliases.

    Running it twice changes nothing. Exit code 1 when the gate blocks the model.

    Example:  mlref register --explain --dry-run
    """
    from mlref.core.errors import GateBlocked
    from mlref.registry import git, register, tables

    project, change = Project.here(), change_of(since, because)
    git.check_repository(project)
    if explain or dry_run:
        gate = register.decision(project, change)
        show(table(*tables.explanation(gate), title=tables.headed(gate)))
        if dry_run:
            say("Dry run: nothing is changed.")
            raise typer.Exit(int(gate["verdict"] == "block"))
    try:
        with status("register"):
            record, champion = register.run(project, change)
    except GateBlocked:
        known = Store(project.store).record(register.digest_of(project))
        if known and (doubt := git.warning(known)):
            say(f"Warning: {doubt}")
        if explain:  # the table has the reasons
            raise typer.Exit(1) from None
        raise
    say(tables.headline(record, champion))
    show(table(*tables.evaluation(record)))
    say(tables.advice(record, champion, reasons=not explain))


@app.command(rich_help_panel="Registry")
def models() -> None:
    """List the registered models: aliases, errors with intervals, verdicts, when they were made.

    Example:  mlref models
    """
    from mlref.registry.tables import models

    show(table(*models(Store(Project.here().store))))


@app.command(rich_help_panel="Registry")
def promote(
    version: Annotated[str, typer.Argument(help="Version, alias or digest.")],
    reason: Reason = "",
    force: Annotated[
        bool, typer.Option("--force", help="Overrule a gate that blocks it; needs a reason.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Make a registered model the champion, if its evaluation passes the gate.

    Exit code 1 when the gate blocks it, or would keep the champion and no reason is given.

    Example:  mlref promote 2 --reason "tie, but it needs no laboratory"
    """
    from mlref.registry.promote import promote

    say(promote(Project.here(), version, reason, force, dry_run))


@app.command(rich_help_panel="Registry")
def rollback(reason: Reason = "", dry_run: DryRun = False) -> None:
    """Make the champion before the present one champion again.

    Example:  mlref rollback --reason "complaints since Monday"
    """
    from mlref.registry.promote import rollback

    say(rollback(Project.here(), reason, dry_run))


@app.command(rich_help_panel="Registry")
def audit() -> None:
    """Print the audit trail: who made which model champion when, and why.

    Example:  mlref audit
    """
    from mlref.registry.tables import trail

    show("\n".join(trail(Store(Project.here().store))))


@app.command(rich_help_panel="Registry")
def lineage(
    version: Annotated[str, typer.Argument(help="Version, alias or digest.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    again: Annotated[
        bool, typer.Option("--verify", help="Train it again in a temporary folder and compare.")
    ] = False,
) -> None:
    """Say what a registered model was made from: run, commit, data, contract, settings, packages.

    Exit code 1 when `--verify` does not give the same bundle again; it names the input that differs.

    Example:  mlref lineage champion --verify
    """
    from rich.tree import Tree

    from mlref.registry.lineage import describe, verify

    project = Project.here()
    model = describe(Store(project.store), version)
    if again:
        model["verified"] = verify(project, model, progress)
    if as_json:
        return typer.echo(json.dumps(model, indent=1))
    tree = Tree(f"version {model.pop('version')} ({', '.join(model.pop('aliases')) or 'no alias'})")
    _grow(tree, model)
    show(tree)


def _grow(tree: Any, parts: dict[str, Any]) -> None:
    for name, value in parts.items():
        if isinstance(value, dict) and value:
            _grow(tree.add(name), value)
        else:
            tree.add(f"{name}: {value}")


Words = Annotated[
    list[str],
    typer.Argument(help="Ids or their start, names, versions or aliases.", metavar="RUN..."),
]
Experiment = Annotated[
    str | None, typer.Option(help="Another experiment than that of `mlref register`.")
]


@runs.command("list")
def runs_list(
    condition: Annotated[
        str, typer.Option("--filter", help="Condition in MLflow's filter language.")
    ] = "",
    sort: Annotated[
        str, typer.Option(help="Keys to sort by, with commas; `DESC` after a key turns it.")
    ] = "",
    columns: Annotated[str, typer.Option(help="Columns to show, with commas.")] = "",
    limit: Annotated[int, typer.Option(help="Most runs to show.", min=1)] = 20,
    trials: Annotated[
        bool, typer.Option("--trials", "--all", help="Show the trials of tuning too.")
    ] = False,
    experiment: Experiment = None,
) -> None:
    """List runs, newest first.

    Columns and keys are named as in the filter: `run_name`, `start_time`, `metrics.rmse`, `params.model`,
    `tags.verdict`.

    Example:  mlref runs list --filter 'metrics.rmse < 60 and params.model = "elastic_net"'
    """
    from mlref.registry.runs import listing

    (head, rows), more = listing(
        Project.here(), condition, _words(sort), _words(columns), limit, trials, experiment
    )
    show(table(head, rows) if rows else "No run matches.")
    if more:
        say(f"These are the first {limit}; --limit shows more.")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


@runs.command("compare")
def runs_compare(runs: Words) -> None:
    """Show what differs between runs, and whether the test set can tell which is better.

    Example:  mlref runs compare champion challenger
    """
    from mlref.registry.compare import compare

    (head, rows), sentences = compare(Project.here(), runs)
    show(table(head, rows))
    say("\n".join(["", *sentences]))


@runs.command("export")
def runs_export(
    file: Annotated[Path, typer.Argument(help="A .csv or .parquet.", metavar="FILE")],
    experiment: Experiment = None,
) -> None:
    """Write all runs, trials too, as a table: params, metrics and tags in columns.

    Example:  mlref runs export runs.csv
    """
    from mlref.registry.runs import export

    say(export(Project.here(), file, experiment))


@runs.command("delete")
def runs_delete(
    runs: Words,
    force: Annotated[
        bool, typer.Option("--force", help="Also a run that a registered model was made by.")
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Delete runs with their trials, after a question; `mlref runs restore` takes it back.

    Example:  mlref runs delete 3f2a91 --dry-run
    """
    from mlref.registry.runs import delete

    done(delete(Project.here(), runs, agreement("Delete these?", yes, dry_run), force), dry_run)


@runs.command("restore")
def runs_restore(runs: Words, yes: Yes = False, dry_run: DryRun = False) -> None:
    """Restore deleted runs with their trials, after a question.

    Example:  mlref runs restore 3f2a91 --yes
    """
    from mlref.registry.runs import restore

    done(restore(Project.here(), runs, agreement("Restore these?", yes, dry_run)), dry_run)
