"""The command line: one command per verb, imported when it is called, and nothing else."""

import atexit
import gc
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from mlref import __version__
from mlref.errors import EnvironmentFault, MlrefError

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

FLAGS = {"-q": "quiet", "--quiet": "quiet", "--debug": "debug"}
"""Options of every command; they may stand before or after its name."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=(
        "A tabular model through its whole life.\n\n"
        "[bold]make train[/bold] runs the seven stages and then registers the model; each stage can also"
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


def _stage(name: str, module: str, purpose: str) -> Callable[[], None]:
    def command() -> None:
        from mlref.storage import Project

        say(f"{name}: {_watched(name, importlib.import_module(module).run, Project.here())}")

    command.__doc__ = f"{purpose}\n\nExample:  mlref {name}"
    return command


def _watched(name: str, run: Callable[..., str], project: Any) -> str:
    """Run a stage, with a progress bar where someone looks and the stage counts its work."""
    if os.environ.get("MLREF_QUIET") or not sys.stderr.isatty():
        return run(project)
    from rich.console import Console

    console = Console(stderr=True)
    if name == "tune":
        from rich.progress import track

        return run(project, lambda work: track(work, "tune", console=console, transient=True))
    with console.status(f"{name} …"):
        return run(project)


for _name, (_module, _purpose) in STAGES.items():
    app.command(_name, rich_help_panel="Stages")(_stage(_name, _module, _purpose))


@app.command(rich_help_panel="Registry")
def register() -> None:
    """Publish the trained model, ask the gate, and point the aliases.

    Running it twice changes nothing. Exit code 1 when the gate blocks the model.

    Example:  mlref register
    """
    from mlref.registry.register import run
    from mlref.storage import Project

    say(_watched("register", run, Project.here()))


@app.command(rich_help_panel="Registry")
def pipeline() -> None:
    """Run the stages that are out of date (`dvc repro`), then register: what `make train` does.

    Example:  mlref pipeline
    """
    from mlref.registry.pipeline import run
    from mlref.storage import Project

    say(run(Project.here(), quiet=bool(os.environ.get("MLREF_QUIET"))))


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


if importlib.util.find_spec("mlref.serving"):

    @app.command(rich_help_panel="Service")
    def serve(
        host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
        port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8000,
        model: Annotated[
            str, typer.Option(help="Version, alias or digest.", envvar="MLREF_MODEL")
        ] = "champion",
    ) -> None:
        """Answer predictions over HTTP; the documentation is at /docs.

        Example:  mlref serve --port 8080
        """
        importlib.import_module("mlref.serving.server").serve(host=host, port=port, reference=model)


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
        return _failed(error, debug="debug" in flags)
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
