"""The command line: one command per verb, imported when it is called, and nothing else."""

import atexit
import contextlib
import gc
import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from mlref import __version__
from mlref.errors import EXIT_CODE_NOTE, EnvironmentFault, MlrefError

STAGES = {
    "ingest": ("mlref.data.ingest", "Bring the contract's source to data/raw/."),
    "validate": ("mlref.data.validate", "Judge the raw rows by the contract; write Data Docs."),
    "split": (
        "mlref.data.split",
        "Divide the rows into training and held-out; measure the profile.",
    ),
    "tune": ("mlref.training.tune", "Judge the candidates of params.yaml by cross-validation."),
    "train": ("mlref.training.train", "Fit the chosen model and its prediction intervals."),
    "package": ("mlref.bundle.package", "Turn the model into a bundle: ONNX and JSON, checked."),
    "evaluate": ("mlref.evaluation.evaluate", "Judge the bundle on the held-out rows."),
}
"""The stages of dvc.yaml, in order: command to module and purpose."""

COUNTED = ("tune", "augment")
"""Commands that count their work, so that it can be shown as a bar."""

FLAGS = {"-q": "quiet", "--quiet": "quiet", "--debug": "debug"}
"""Options of every command; they may stand before or after its name."""


class Engine(StrEnum):
    """What `mlref score` runs on."""

    threads = "threads"
    dask = "dask"


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=(
        "A tabular model through its whole life.\n\n"
        "**make train** runs the seven stages and then registers the model; each stage can also"
        " be run by itself.\n\n"
        "Examples:\n\n"
        "  mlref contract show          what the dataset promises\n\n"
        "  mlref tune                   one stage\n\n"
        "  mlref register               publish, judge and promote\n\n"
        "Exit codes: 0 done, 1 your data, configuration or request was refused, 2 wrong usage, 3 alert,"
        " 4 disk, network or database."
    ),
)
contract_app = typer.Typer(no_args_is_help=True, help="Show or check config/dataset.yaml.")
app.add_typer(contract_app, name="contract")
labels_app = typer.Typer(no_args_is_help=True, help="Review labels, or add labelled rows.")
app.add_typer(labels_app, name="labels")
runs_app = typer.Typer(no_args_is_help=True, help="Search, compare and tidy up the runs in MLflow.")
app.add_typer(runs_app, name="runs", rich_help_panel="Registry")
log_app = typer.Typer(no_args_is_help=True, help="Tidy up the prediction log.")
app.add_typer(log_app, name="log")


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options that every command takes; ``main`` reads the two flags itself."""


def say(text: str) -> None:
    """Print a result unless ``-q`` was given."""
    if not os.environ.get("MLREF_QUIET"):
        typer.echo(text)


def _progress(line: str) -> None:
    """Say on standard error what is done, unless ``-q`` was given."""
    if not os.environ.get("MLREF_QUIET"):
        typer.echo(line, err=True)


def _stage(name: str, module: str, purpose: str) -> Callable[[], None]:
    def command() -> None:
        from mlref.storage import Project

        say(f"{name}: {_watched(name, importlib.import_module(module).run, Project.here())}")

    command.__doc__ = f"{purpose}\n\nExample:  mlref {name}"
    return command


def _watched(name: str, run: Callable[..., str], project: Any, **options: Any) -> str:
    """Run a stage, with a progress bar where someone looks and the stage counts its work."""
    if os.environ.get("MLREF_QUIET") or not sys.stderr.isatty():
        return run(project, **options)
    from rich.console import Console

    console = Console(stderr=True)
    if name in COUNTED:
        from rich.progress import track

        options["track"] = lambda work: track(work, name, console=console, transient=True)
        return run(project, **options)
    with console.status(f"{name} …"):
        return run(project, **options)


def tune(
    jobs: Annotated[
        int, typer.Option(help="Processes; their number changes no result.", min=1)
    ] = 1,
) -> None:
    """Judge the candidates of params.yaml by nested cross-validation; a killed search goes on.

    Example:  mlref tune --jobs 4
    """
    from mlref.storage import Project
    from mlref.training.tune import run

    say(f"tune: {_watched('tune', run, Project.here(), jobs=jobs)}")


for _name, (_module, _purpose) in STAGES.items():
    command = tune if _name == "tune" else _stage(_name, _module, _purpose)
    app.command(_name, rich_help_panel="Stages")(command)


Reason = Annotated[str, typer.Option(help="Why, for the audit trail.", metavar="TEXT")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen; change nothing.")]


@app.command(rich_help_panel="Registry")
def register(
    explain: Annotated[
        bool, typer.Option("--explain", help="Print every check of the gate as a table.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Publish the trained model, ask the gate, and point the aliases.

    Running it twice changes nothing. Exit code 1 when the gate blocks the model.

    Example:  mlref register --explain --dry-run
    """
    from mlref.registry import register
    from mlref.storage import Project

    project = Project.here()
    if explain:
        from mlref.registry.models import explanation

        _show(explanation(register.decision(project)))
    run = register.rehearse if dry_run else register.run
    say(_watched("register", run, project))


@app.command(rich_help_panel="Registry")
def models() -> None:
    """List the registered models: aliases, errors with intervals, verdicts, when they were made.

    Example:  mlref models
    """
    import datetime

    from mlref.bundle.store import Store
    from mlref.registry.models import models
    from mlref.storage import Project

    _show(models(Store(Project.here().store), datetime.datetime.now(datetime.UTC)))


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
    from mlref.storage import Project

    say(promote(Project.here(), version, reason, force, dry_run))


@app.command(rich_help_panel="Registry")
def rollback(reason: Reason = "", dry_run: DryRun = False) -> None:
    """Make the champion before the present one champion again.

    Example:  mlref rollback --reason "complaints since Monday"
    """
    from mlref.registry.promote import rollback
    from mlref.storage import Project

    say(rollback(Project.here(), reason, dry_run))


@app.command(rich_help_panel="Registry")
def audit() -> None:
    """Print the audit trail: who made which model champion when, and why.

    Example:  mlref audit
    """
    from mlref.bundle.store import Store
    from mlref.registry.models import trail
    from mlref.storage import Project

    _show(trail(Store(Project.here().store)))


def _show(table: Any) -> None:
    """Print a table that fits the terminal; in a pipe every line is whole."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 10_000).print(table)


@app.command(rich_help_panel="Registry")
def pipeline() -> None:
    """Run the stages that are out of date (`dvc repro`), then register: what `make train` does.

    Example:  mlref pipeline
    """
    from mlref.registry.pipeline import run
    from mlref.storage import Project

    say(run(Project.here(), quiet=bool(os.environ.get("MLREF_QUIET"))))


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
    import json

    from rich.console import Console
    from rich.tree import Tree

    from mlref.bundle.store import Store
    from mlref.registry.lineage import describe, verify
    from mlref.storage import Project

    project = Project.here()
    model = describe(Store(project.store), version)
    if again:
        model["verified"] = verify(project, model, _progress)
    if as_json:
        return typer.echo(json.dumps(model, indent=1))
    tree = Tree(f"version {model.pop('version')} ({', '.join(model.pop('aliases')) or 'no alias'})")
    _grow(tree, model)
    Console(highlight=False, markup=False).print(tree, soft_wrap=True)


def _grow(tree: Any, parts: dict[str, Any]) -> None:
    for name, value in parts.items():
        if isinstance(value, dict) and value:
            _grow(tree.add(name), value)
        else:
            tree.add(f"{name}: {value}")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as text: whole where it goes into a file or a pipe, in a terminal as much as fits.

    There a cell is cut at 40 signs, and the columns that find no room are named beneath.
    """
    from rich.cells import cell_len, set_cell_size

    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    lines, missing = [""] * (len(rows) + 1), list[str]()
    for column in zip(head, *rows, strict=True):
        size = max(map(cell_len, column))
        size = size if room is None else min(size, 40)
        gap = "  " if lines[0] else ""
        if room and lines[0] and (missing or cell_len(lines[0] + gap) + size > room):
            missing.append(column[0])
            continue
        cut = (c if cell_len(c) <= size else set_cell_size(c, size - 1) + "…" for c in column)
        lines = [line + gap + set_cell_size(c, size) for line, c in zip(lines, cut, strict=True)]
    note = [f"No room for: {', '.join(missing)}."] if missing else []
    return "\n".join([*(line.rstrip() for line in lines), *note])


Words = Annotated[
    list[str],
    typer.Argument(help="Ids or their start, names, versions or aliases.", metavar="RUN..."),
]
Experiment = Annotated[
    str | None, typer.Option(help="Another experiment than that of `mlref register`.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@runs_app.command("list")
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
    from mlref.storage import Project

    (head, rows), more = listing(
        Project.here(), condition, _words(sort), _words(columns), limit, trials, experiment,
        short=sys.stdout.isatty(),
    )  # fmt: skip
    say(table(head, rows) if rows else "No run matches.")
    if more:
        say(f"These are the first {limit}; --limit shows more.")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


@runs_app.command("compare")
def runs_compare(
    runs: Words,
    plot: Annotated[Path | None, typer.Option(help="Draw it too: a .png, .svg or .pdf.")] = None,
) -> None:
    """Show what differs between runs, and whether their held-out rows can tell which is better.

    Example:  mlref runs compare champion challenger --plot compared.png
    """
    from mlref.registry.compare import compare
    from mlref.storage import Project

    (head, rows), sentences = compare(Project.here(), runs, plot)
    say("\n".join([table(head, rows), "", *sentences]))


@runs_app.command("export")
def runs_export(
    file: Annotated[Path, typer.Argument(help="A .csv or .parquet.", metavar="FILE")],
    experiment: Experiment = None,
) -> None:
    """Write all runs, trials too, as a table: params, metrics and tags in columns.

    Example:  mlref runs export runs.csv
    """
    from mlref.registry.runs import export
    from mlref.storage import Project

    say(export(Project.here(), file, experiment))


@runs_app.command("delete")
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
    from mlref.storage import Project

    _done(delete(Project.here(), runs, _agreed("Delete these?", yes, dry_run), force), dry_run)


@runs_app.command("restore")
def runs_restore(runs: Words, yes: Yes = False, dry_run: DryRun = False) -> None:
    """Restore deleted runs with their trials, after a question.

    Example:  mlref runs restore 3f2a91 --yes
    """
    from mlref.registry.runs import restore
    from mlref.storage import Project

    _done(restore(Project.here(), runs, _agreed("Restore these?", yes, dry_run)), dry_run)


def _agreed(question: str, yes: bool, dry_run: bool) -> Callable[[Any], bool]:
    """Show what is about to change, and ask."""

    def agreed(shown: Any) -> bool:
        say(table(*shown))
        if dry_run or yes:
            return yes and not dry_run
        if not sys.stdin.isatty():
            raise MlrefError(
                f"{question} Nobody is there to answer: add --yes, or --dry-run to look."
            )
        return typer.confirm(question)

    return agreed


def _done(sentence: str | None, dry_run: bool) -> None:
    say(sentence or "Nothing was changed.")
    if not sentence and not dry_run:
        raise typer.Exit(1)


@runs_app.command("reproduce")
def runs_reproduce() -> None:
    """Train the runs of config/published_runs.yaml anew and compare every printed digit.

    They are logged to an experiment of their own. Exit code 1 when a figure disagrees.

    Example:  mlref runs reproduce
    """
    from mlref.registry.reproduce import check, run, tabulate
    from mlref.storage import Project

    figures = run(Project.here())
    say(table(*tabulate(figures)))
    say(f"\n{check(figures)}")


@contract_app.command("show")
def contract_show() -> None:
    """Print the contract as a table.

    Example:  mlref contract show
    """
    from rich.console import Console
    from rich.table import Table

    from mlref.contract import load
    from mlref.storage import Project

    contract = load(Project.here().contract)
    table = Table("column", "title", "type", "unit", "valid or allowed", "expected", box=None)
    for column in contract.columns:
        allowed = column.allowed or (column.valid and [f"{x:g}" for x in column.valid]) or ()
        separator = ", " if column.allowed else " to "
        table.add_row(
            column.name + " *" * column.sensitive,
            column.title + " (target)" * (column is contract.target),
            column.type + " or null" * column.nullable,
            column.unit or "",
            separator.join(map(str, allowed)),
            " to ".join(f"{x:g}" for x in column.expected or ()),
        )
    console = Console()
    console.print(f"[bold]{contract.title}[/bold] ({contract.name}), {contract.task}")
    console.print(table)
    console.print("* sensitive", style="dim")
    for promise in contract.promises:
        about = getattr(promise, "column", "predictions")
        console.print(f"\n[bold]Promise[/bold] {promise.kind}: {about}. {promise.reason}")


@contract_app.command("check")
def contract_check() -> None:
    """List every mistake in the contract, each with its key and what is allowed.

    Example:  mlref contract check
    """
    from mlref.contract import parse
    from mlref.documents import read_text
    from mlref.errors import ContractError
    from mlref.storage import Project

    project = Project.here()
    contract = parse(read_text(project.contract, ContractError), project.show(project.contract))
    found = f"{len(contract.features)} features, target {contract.target.name}"
    say(f"{project.show(project.contract)} is sound: {found}.")


@labels_app.command("issues")
def labels_issues(
    output: Annotated[
        Path | None, typer.Option(help="Where the list goes, if not to reports/label_issues.csv.")
    ] = None,
    rows: Annotated[int, typer.Option(help="Length of the list.", min=1)] = 20,
) -> None:
    """List the labels that the other rows contradict, for people to look up.

    Example:  mlref labels issues --rows 50
    """
    from mlref.evaluation.labels import review
    from mlref.storage import Project

    say(_watched("labels", partial(review, output=output, listed=rows), Project.here()))


@labels_app.command("import")
def labels_import(
    file: Annotated[Path, typer.Argument(help="A CSV file with the columns of the contract.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be added.")
    ] = False,
) -> None:
    """Add labelled rows to the source: all of the file's that are new, or none when one is wrong.

    Example:  mlref labels import march.csv --dry-run
    """
    from mlref.evaluation.labels import add
    from mlref.storage import Project

    say(add(Project.here(), file, dry_run))


@app.command()
def augment(
    copies: Annotated[int, typer.Option(help="Jittered copies of each row.", min=1)] = 5,
) -> None:
    """Measure whether training on jittered copies of the rows would help; nothing is changed.

    Example:  mlref augment --copies 10
    """
    from mlref.evaluation.augment import run
    from mlref.storage import Project

    say(_watched("augment", partial(run, copies=copies), Project.here()))


@log_app.command("prune")
def log_prune(
    days: Annotated[int, typer.Argument(help="How old may be what stays.", min=0, max=20_000)],
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Delete predictions, labels and refusals that are older than so many days, after a question.

    Of `predictions.db`, or the database of `MLREF_LOG_URL`. For a daily job: `--yes`.

    Example:  mlref log prune 90 --dry-run
    """
    from mlref.prediction_log.retention import prune

    _delete_logged(partial(prune, days=days), yes, dry_run)


@log_app.command("erase")
def log_erase(
    subject: Annotated[
        str, typer.Argument(help="As sent in `x-subject-id`, or in the column of `score --id`.")
    ],
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Delete the predictions for one subject and their labels, after a question.

    Of `predictions.db`, or the database of `MLREF_LOG_URL`.

    Example:  mlref log erase patient-17 --dry-run
    """
    from mlref.prediction_log.retention import erase

    _delete_logged(partial(erase, subject=subject), yes, dry_run)


def _delete_logged(delete: Callable[..., str | None], yes: bool, dry_run: bool) -> None:
    """Show how many rows that would delete, ask, and do it."""
    from mlref.storage import Project

    ask = _agreed("Delete these?", yes, dry_run)

    def agreed(found: dict[str, int]) -> bool:
        """Show the counts and ask."""
        return ask((["table", "rows"], [[name, f"{rows:,}"] for name, rows in found.items()]))

    _done(delete(Project.here(), agreed=agreed), dry_run)


if importlib.util.find_spec("mlref.serving"):
    keys_app = typer.Typer(no_args_is_help=True, help="Make API keys of the service.")
    app.add_typer(keys_app, name="keys", rich_help_panel="Service")

    @app.command(rich_help_panel="Service")
    def serve(
        host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
        port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8000,
        model: Annotated[
            str, typer.Option(help="Version, alias or digest.", envvar="MLREF_MODEL")
        ] = "champion",
        insecure: Annotated[
            bool, typer.Option("--insecure", help="Ask nobody for a key, also other machines.")
        ] = False,
        drain: Annotated[
            float, typer.Option(help="Seconds from SIGTERM to the stop, for balancers.", min=0)
        ] = 3.0,
        no_log: Annotated[
            bool, typer.Option("--no-log", help="Keep no predictions.", envvar="MLREF_NO_LOG")
        ] = False,
        shadow: Annotated[
            str | None, typer.Option(help="A model that scores the same rows, for the log alone.")
        ] = None,
    ) -> None:
        """Answer predictions over HTTP; the documentation is at /docs.

        Follows the alias: a promoted model answers from the next request on. Predictions go to the
        prediction log, `predictions.db` or the database of `MLREF_LOG_URL`. On another address than
        loopback it asks for the keys of `MLREF_API_KEYS`, and does not start without them.

        Example:  mlref serve --port 8080
        """
        if shadow and no_log:
            raise typer.BadParameter(
                "a shadow answers nobody, so without the log it does nothing", param_hint="--shadow"
            )
        importlib.import_module("mlref.serving.server").serve(
            host=host, port=port, reference=model, insecure=insecure, drain=drain, logged=not no_log,
            shadow=shadow,
        )  # fmt: skip

    @keys_app.command("new")
    def keys_new(
        role: Annotated[str, typer.Argument(help="`predict`, or `admin`, who may read /metrics.")],
    ) -> None:
        """Print a new key, which is not kept anywhere, and its entry for `MLREF_API_KEYS`.

        Example:  mlref keys new predict
        """
        key, entry = importlib.import_module("mlref.serving.keys").new(role)
        typer.echo(f"key    {key}\nentry  {entry}")


if importlib.util.find_spec("mlref.batch"):

    @app.command(rich_help_panel="Batch")
    def score(
        inputs: Annotated[
            list[str], typer.Argument(help="Files, folders, patterns or URLs of CSV or Parquet.")
        ],
        output: Annotated[str, typer.Argument(help="A new .parquet file, or a new folder.")],
        model: Annotated[
            str, typer.Option(help="Version, alias or digest.", envvar="MLREF_MODEL")
        ] = "champion",
        id_: Annotated[
            str | None, typer.Option("--id", help="Column that names a row: no null, none twice.")
        ] = None,
        max_rejected: Annotated[
            str | None,
            typer.Option(help="Publish nothing above this share (1%) or number of rows."),
        ] = None,
        overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output.")] = False,
        resume: Annotated[bool, typer.Option("--resume", help="Go on where a run ended.")] = False,
        to_log: Annotated[
            bool,
            typer.Option("--to-log", help="Also write to the prediction log, again each time."),
        ] = False,
        engine: Annotated[
            Engine, typer.Option(help="Threads of this machine, or a Dask cluster.")
        ] = Engine.threads,
        scheduler: Annotated[
            str | None, typer.Option(help="Address of a Dask scheduler; without it one is started.")
        ] = None,
        workers: Annotated[
            int | None, typer.Option(help="Files at a time; as many as cores by default.", min=1)
        ] = None,
    ) -> None:
        """Predict the rows of files; the output has all their columns and five more.

        What the contract forbids goes to OUTPUT.rejected, with the reason.

        Example:  mlref score data/raw scored
        """
        from mlref.batch.score import Request, run, threads
        from mlref.storage import Project

        count = workers or os.cpu_count() or 1
        request = Request(inputs, output, model, id_, max_rejected, overwrite, resume, to_log)
        if engine is Engine.threads:
            chosen = threads(count)
        else:
            chosen = importlib.import_module("mlref.batch.distributed").cluster(scheduler, count)
        watched = sys.stderr.isatty() and not os.environ.get("MLREF_QUIET")
        say(run(Project.here(), request, chosen, watched))


def main(arguments: list[str] | None = None) -> int:
    """Run a command and give its exit code; an error of the user's is one sentence, no traceback."""
    # Importing scikit-learn makes a million objects that stay. Looking for garbage among them after every
    # 700 new ones, as is the default, costs a fifth of the time, and once more at exit another fifth.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    given = sys.argv[1:] if arguments is None else arguments
    flags = {FLAGS[word] for word in given if word in FLAGS}
    rest = [word for word in given if word not in FLAGS]
    if "quiet" in flags:
        os.environ["MLREF_QUIET"] = "1"
    if "--version" in rest[:1]:
        print(f"mlref {__version__}")
        return 0
    try:
        code = int(app(rest, standalone_mode=False) or 0)
    except Exception as error:  # the last resort: one sentence, with --debug the traceback
        code = _failed(error, debug="debug" in flags)
        if note := os.environ.get(EXIT_CODE_NOTE):
            with contextlib.suppress(OSError):
                Path(note).write_text(str(code))
        return code
    if code == 130:
        print("Stopped.", file=sys.stderr)
    return code


def _failed(error: Exception, debug: bool) -> int:
    """Print what went wrong and give the exit code."""
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, MlrefError):
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    if hasattr(error, "exit_code") and hasattr(error, "show"):  # wrong usage, from the parser
        error.show()
        return int(error.exit_code)
    if isinstance(error, OSError):
        return _failed(EnvironmentFault("The command could not go on", error), debug=False)
    kind = type(error).__name__
    print(
        f"Error: {kind}: {error}\n  This is a defect of mlref; --debug shows where.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
