"""The command line: commands, exit codes, and what is printed where."""

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from mlref import __version__
from mlref.cli import build, main
from mlref.console import agreement, done, show, table, track
from mlref.core.errors import EnvironmentFault, GateBlocked, MlrefError
from tests.fakes import CONTRACT_TEXT, TYPES_TEXT
from tests.projects import write_project

STEP = "mlref.data.split.run"
"""Stands for any command."""


@pytest.fixture(autouse=True)
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with a contract, which is the current folder."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "dataset.yaml").write_text(CONTRACT_TEXT)
    monkeypatch.chdir(tmp_path)
    for name in ("MLREF_QUIET", "MLREF_DEBUG"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def raising(error: BaseException) -> Any:
    """A stage that stops with an error."""

    def run(_: object) -> str:
        raise error

    return run


def commands() -> list[tuple[str, Any]]:
    """Every command with its group, as it is typed."""

    def walk(words: str, group: Any) -> Any:
        for name, command in group.commands.items():
            inner = hasattr(command, "commands")
            yield from walk(f"{words}{name} ", command) if inner else [(words + name, command)]

    return list(walk("", get_command(build())))


def test_help_lists_every_command_and_each_has_an_example(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two rooms may add to one group; `-h` is enough."""
    assert main(["-h"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert all(f" {name.split()[0]} " in out for name, _ in commands())
    assert "Exit codes: 0 done" in out
    names = [name for name, _ in commands()]
    assert {"labels issues", "labels import", "contract check", "tune"} <= set(names)
    assert len(names) == len(set(names))
    wrong = [name for name, command in commands() if f"Example:  mlref {name}" not in command.help]
    assert wrong == []


def test_version_and_help_import_nothing_heavy() -> None:
    script = (
        "import sys; from mlref.cli import main; main(['--help']); main(['--version']);"
        "print([n for n in ('sklearn', 'pandas', 'mlflow', 'onnxruntime', 'numpy') if n in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines()[-2:] == [f"mlref {__version__}", "[]"]


@pytest.mark.parametrize(
    "arguments",
    ["trian", "train --fast", "train extra", "contract", "labels import", "tune --jobs 0", ""],
)
def test_wrong_usage_is_2(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments.split()) == 2
    said = capsys.readouterr()
    assert "Usage: " in said.out + said.err
    assert "Traceback" not in said.err


def test_a_stage_runs_in_the_clone_also_from_a_folder_inside_it_and_quietly_when_asked(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(clone / "config")
    monkeypatch.setattr(STEP, lambda project: f"ran in {project.root}")
    assert main(["split"]) == 0
    assert capsys.readouterr() == (f"split: ran in {clone.resolve()}\n", "")
    assert main(["-q", "split"]) == 0
    monkeypatch.setattr(STEP, raising(MlrefError("The rows are wrong.")))
    assert main(["--quiet", "split"]) == 1
    assert capsys.readouterr() == ("", "Error: The rows are wrong.\n")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MlrefError("The rows are wrong."), 1, "Error: The rows are wrong.\n"),
        (GateBlocked(["It is worse."]), 1, "the champion stays:\n  It is worse.\n"),
        (EnvironmentFault("Disk", OSError(28, "No space left")), 4, "Error: Disk: No space left. "),
        (PermissionError(13, "Permission denied", "x"), 4, "could not go on: Permission denied. "),
        (ModuleNotFoundError("No module named 'dask'", name="dask"), 4,
         "Error: The package 'dask' is not installed: `make setup` installs what is needed.\n"),
        (ModuleNotFoundError("No module named 'mlref.x'", name="mlref.x"), 1, "a defect of mlref"),
        (KeyError("area"), 1, "Error: KeyError: 'area'\n  This is a defect of mlref; --debug shows"),
        (typer.Exit(3), 3, ""),
        (KeyboardInterrupt(), 130, "Stopped.\n"),
    ],
    ids=repr,
)  # fmt: skip
def test_an_error_is_a_sentence_and_an_exit_code(
    error: BaseException, code: int, said: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(STEP, raising(error))
    assert main(["split"]) == code
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err


def test_debug_shows_the_traceback_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(STEP, raising(MlrefError("wrong")))
    assert main(["--debug", "split"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):") and "\nError: " in err


def watch(monkeypatch: pytest.MonkeyPatch, stream: Any) -> None:
    """Let a stream be a terminal."""
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")


def test_long_work_shows_progress_to_a_person_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(track("tune", [1, 2])) == [1, 2]
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("mlref.console.EVERY", 0.0)
    assert list(track("tune", iter([1, 2]), 2)) == [1, 2]
    assert capsys.readouterr() == ("", "tune: 1 of 2, about 0 min left\n")
    watch(monkeypatch, sys.stderr)
    assert list(track("tune", [1, 2])) == [1, 2]
    monkeypatch.setattr(STEP, lambda _: "done")
    assert main(["split"]) == 0
    out, err = capsys.readouterr()
    assert out == "split: done\n" and "tune" in err and "split" in err


HEAD, ROWS = ["run_id", "note"], [["c0ffee", "x" * 50], ["bad", "[red]糖尿[/red]"]]


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    show(table(HEAD, ROWS))
    return re.sub(r" *\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()


def test_a_table_is_whole_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No cell is cut, or read as a colour."""
    monkeypatch.setenv("COLUMNS", "30")
    assert printed(capsys) == ["run_id  note", f"c0ffee  {'x' * 50}", "bad     [red]糖尿[/red]"]


@pytest.mark.parametrize(
    ("columns", "last"), [(48, "bad     [red]糖尿[/red]"), (47, "No room for: note.")]
)
def test_a_table_fits_the_terminal(
    columns: int, last: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A long cell takes several lines; a column without room is named."""
    monkeypatch.setenv("COLUMNS", str(columns))
    watch(monkeypatch, sys.stdout)
    lines = printed(capsys)
    assert lines[-1] == last
    assert max(map(len, lines)) <= columns


def ask(monkeypatch: pytest.MonkeyPatch, typed: str, **options: bool) -> bool:
    """What a person's answer amounts to."""
    terminal = io.StringIO(f"{typed}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdin", terminal)
    return agreement("Delete these?", **{"yes": False, "dry_run": False} | options)((HEAD, ROWS))


@pytest.mark.parametrize(("typed", "answer"), [("y", True), ("n", False), ("", False)])
def test_a_person_is_asked_after_a_table_of_what_is_meant(
    typed: str, answer: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(monkeypatch, typed) is answer
    out = capsys.readouterr().out
    assert "c0ffee" in out and "Delete these? [y/N]" in out


def test_a_script_says_yes_and_a_dry_run_only_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(monkeypatch, "n", yes=True)
    assert not ask(monkeypatch, "y", dry_run=True)
    assert not ask(monkeypatch, "y", dry_run=True, yes=True)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(MlrefError, match="Nobody is there to answer: add --yes"):
        agreement("Delete these?", yes=False, dry_run=False)((HEAD, ROWS))


def test_nothing_done_without_a_dry_run_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    done("Deleted.", dry_run=False)
    done(None, dry_run=True)
    with pytest.raises(typer.Exit):
        done(None, dry_run=False)
    assert capsys.readouterr().out == "Deleted.\nNothing was changed.\nNothing was changed.\n"


def test_contract_show_prints_columns_checks_and_how_rows_and_target_are_treated(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each key of the contract that changes what is learned, under its name."""
    text = TYPES_TEXT.replace("valid: [0, 20000]", "transform: log")
    text = text.replace("example: oil\n", "example: oil\n    sensitive: true\n") + (
        "promises:\n"
        "  - {kind: monotone, column: area, direction: increasing, reason: Larger costs more.}\n"
        "  - {kind: bounded, range: [0, 9], reason: Few are higher.}\n"
        "identity: [flat]\nsplit: {by: group, column: house}\nignore: [note, door]\n"
        "missing_target: drop\n"
    )
    (clone / "config" / "dataset.yaml").write_text(text)
    assert main(["contract", "show"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "Monthly rents (rents), regression"
    assert {
        "area Area number m² 5 to 1000 20 to 300", "heating * Heating category gas, oil, wood",
        "sold S date since 2020-01-01 or null", "rent Rent (target) number euro",
        "Behavioural check, monotone: area. Larger costs more.",
        "Behavioural check, bounded: predictions. Few are higher.",
        "identity flat", "split group, house", "ignore note, door", "missing_target drop",
        "transform log",
    } <= {*lines}  # fmt: skip


def test_contract_check_says_that_it_is_sound_or_lists_every_mistake(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["contract", "check"]) == 0
    sound = "config/dataset.yaml is sound: 4 features, target rent.\n"
    assert capsys.readouterr() == (sound, "")
    text = CONTRACT_TEXT.replace("valid: [5, 1000]", "valid: [1000, 5]")
    text = text.replace("task: regression", "task: guessing").replace("unit: euro", "unti: euro")
    (clone / "config" / "dataset.yaml").write_text(text)
    assert main(["contract", "check"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "config/dataset.yaml has 3 mistakes:" in err.splitlines()[0]
    keys = sorted(line.split(":")[0].strip() for line in err.splitlines()[1:])
    assert keys == ["features[0] (area).valid", "target.unti", "task"]


def test_contract_check_says_how_small_a_difference_the_rows_can_show(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_project(clone, CONTRACT_TEXT)
    assert main(["contract", "check"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("is sound: 4 features, target rent.")
    assert second.startswith("120 rows: about 90 to train on and 30 in the test set. Four times")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--since", "2026-11-01"], "--because"),
        (["--because", "the law"], "need each other"),
        (["--since", "2026-11-01", "--because", " "], "need each other"),
        (["--since", "yesterday", "--because", "the law"], "a time such as 2026-11-24T12:00"),
        (["--since", "2999-01-01", "--because", "the law"], "no row is from after it"),
    ],
)
def test_a_time_of_change_that_makes_no_sense_is_wrong_usage(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["register", *options]) == 2
    assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())
