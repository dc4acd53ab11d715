"""The command line: shows the commands of the folders that are there, and turns errors into exit codes."""

import functools
import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from mlref import __version__
from mlref.core.errors import EnvironmentFault, MlrefError

FOLDERS = (
    *("data", "training", "bundle", "evaluation", "registry", "sources"),
    *("prediction_log", "serving", "batch", "monitoring", "online"),
)
"""Folders that may declare commands in their `commands.py`, in the order of the help."""

HELP = """A tabular model through its whole life.

**make train** runs the seven stages and then registers the model; each stage can also be run by itself.

Examples:

  mlref contract show          the dataset's columns and rules

  mlref tune                   one stage

  mlref register               publish, compare and promote

Exit codes: 0 done, 1 your data, configuration or request was refused, 2 wrong usage, 3 alert,
4 disk, network or database.
"""


@functools.cache
def build() -> typer.Typer:
    """Collect the commands of every folder that is there; groups of one name become one group."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        help=HELP,
        callback=options,
    )
    groups: dict[str | None, typer.Typer | None] = {}
    for folder in FOLDERS:
        if not (Path(__file__).parent / folder / "commands.py").is_file():
            continue
        commands: typer.Typer = importlib.import_module(f"mlref.{folder}.commands").app
        app.registered_commands += commands.registered_commands
        for group in commands.registered_groups:
            first = groups.setdefault(group.name, group.typer_instance)
            if first is group.typer_instance:
                app.registered_groups.append(group)
            elif first and group.typer_instance:
                first.add_typer(group.typer_instance)
    return app


def _version(asked: bool) -> None:
    if asked:
        print(f"mlref {__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Apply the options that stand before a command's name."""
    if quiet:
        os.environ["MLREF_QUIET"] = "1"
    if debug:
        os.environ["MLREF_DEBUG"] = "1"


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code; a user's error is one sentence without a traceback."""
    try:
        code = int(build()(arguments, standalone_mode=False) or 0)
    except Exception as error:  # the last resort: one sentence, with --debug the traceback
        return _failed(error)
    if code == 130:
        print("Stopped.", file=sys.stderr)
    return code


def _failed(error: Exception) -> int:
    """Print what went wrong and return the exit code."""
    if os.environ.get("MLREF_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, MlrefError):
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    if hasattr(error, "exit_code") and hasattr(error, "show"):  # wrong usage, from the parser
        error.show()
        return int(error.exit_code)
    if isinstance(error, OSError):
        print(f"Error: {EnvironmentFault('The command could not go on', error)}", file=sys.stderr)
        return EnvironmentFault.exit_code
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("mlref"):
        problem = (
            f"The package {error.name!r} is not installed: `make setup` installs what is needed."
        )
        print(f"Error: {problem}", file=sys.stderr)
        return EnvironmentFault.exit_code
    kind = type(error).__name__
    print(
        f"Error: {kind}: {error}\n  This is a defect of mlref; --debug shows where.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
