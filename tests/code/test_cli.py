"""The command line: commands, exit codes and what is printed where."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlref import __version__, cli
from mlref.cli import main
from mlref.errors import EnvironmentFault, GateBlocked, MlrefError
from mlref.storage import Project
from tests.fakes import CONTRACT_TEXT

SOURCE = Path(cli.__file__).parent
PLANES = [name for name, folder in {"serve": "serving"}.items() if (SOURCE / folder).is_dir()]
COMMANDS = [*cli.STAGES, "register", "pipeline", *PLANES, "contract show", "contract check"]
STEP = "mlref.data.split.run"
"""Stands for any command."""


@pytest.fixture(autouse=True)
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with a contract, which is the current folder."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "dataset.yaml").write_text(CONTRACT_TEXT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLREF_QUIET", "")
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def raising(error: Exception) -> Any:
    """A stage that stops with an error."""

    def run(_: Project) -> str:
        raise error

    return run


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing else."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mlref {__version__}\n"


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example(
    command: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """That begins with the command itself."""
    assert main([*command.split(), flag]) == 0
    assert f"Example:  mlref {command}" in capsys.readouterr().out


def test_the_main_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """And the table of commands in these tests is complete."""
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(command.split()[0] in out for command in COMMANDS)
    assert "Exit codes: 0 done" in " ".join(out.split())
    known = {
        info.name or info.callback.__name__ for info in cli.app.registered_commands if info.callback
    }
    assert known | {"contract"} == {command.split()[0] for command in COMMANDS}


@pytest.mark.parametrize(
    "arguments",
    [
        ["trian"],
        ["train", "--fast"],
        ["train", "extra"],
        ["contract"],
        ["contract", "print"],
        [],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With the usage or help, and no traceback."""
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert "Usage: " in said.out + said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("name", cli.STAGES)
def test_a_stage_runs_in_the_clone_and_says_what_it_did(
    name: str, clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also from a folder inside it."""
    (clone / "config" / "inner").mkdir()
    monkeypatch.chdir(clone / "config" / "inner")
    monkeypatch.setattr(f"{cli.STAGES[name][0]}.run", lambda project: f"ran in {project.root}")
    assert main([name]) == 0
    assert capsys.readouterr().out == f"{name}: ran in {clone.resolve()}\n"


@pytest.mark.parametrize("arguments", [["-q", "split"], ["split", "-q"], ["--quiet", "split"]])
def test_quiet_prints_nothing(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before or after the command's name."""
    monkeypatch.setattr(STEP, lambda _: "done")
    assert main(arguments) == 0
    assert capsys.readouterr() == ("", "")


def test_quiet_still_prints_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr."""
    monkeypatch.setattr(STEP, raising(MlrefError("The rows are wrong.")))
    assert main(["-q", "split"]) == 1
    assert capsys.readouterr() == ("", "Error: The rows are wrong.\n")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MlrefError("The rows are wrong."), 1, "Error: The rows are wrong.\n"),
        (GateBlocked(["It is worse."]), 1, "the champion stays:\n  It is worse.\n"),
        (EnvironmentFault("Disk", OSError(28, "No space left")), 4, "Error: Disk: No space left. "),
        (OSError(28, "No space left"), 4, "Error: The command could not go on: No space left. "),
        (PermissionError(13, "Permission denied", "x"), 4, "could not go on: Permission denied. "),
        (
            KeyError("area"),
            1,
            "Error: KeyError: 'area'\n  This is a defect of mlref; --debug shows",
        ),
    ],
)
def test_an_error_is_a_sentence_and_an_exit_code(
    error: Exception, code: int, said: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Without a traceback."""
    monkeypatch.setattr(STEP, raising(error))
    assert main(["split"]) == code
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err


@pytest.mark.parametrize("arguments", [["--debug", "split"], ["split", "--debug"]])
@pytest.mark.parametrize("error", [MlrefError("wrong"), OSError("gone"), KeyError("area")])
def test_debug_shows_the_traceback(
    arguments: list[str], error: Exception,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """And the sentence after it."""
    monkeypatch.setattr(STEP, raising(error))
    assert main(arguments) == (4 if isinstance(error, OSError) else 1)
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):")
    assert "Error: " in err.splitlines()[-1] + err.splitlines()[-2]


def test_an_interrupted_command_stops(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the exit code of a shell."""

    def run(_: Project) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(STEP, run)
    assert main(["split"]) == 130
    assert capsys.readouterr().err.strip() == "Stopped."


def test_a_command_may_end_with_an_exit_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an alert does, with 3."""
    import typer

    monkeypatch.setattr(STEP, raising(typer.Exit(3)))
    assert main(["split"]) == 3


@pytest.mark.parametrize("arguments", [["register"], ["-q", "register"]])
def test_register_says_its_summary(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless it is to be quiet."""
    monkeypatch.setattr("mlref.registry.register.run", lambda _: "summary")
    assert main(arguments) == 0
    assert capsys.readouterr().out == ("" if "-q" in arguments else "summary\n")


@pytest.mark.parametrize(
    ("arguments", "quiet"), [(["pipeline"], False), (["pipeline", "-q"], True)]
)
def test_the_pipeline_passes_quiet_on(
    arguments: list[str], quiet: bool,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """DVC prints too."""
    monkeypatch.setattr("mlref.registry.pipeline.run", lambda _, quiet: f"quiet: {quiet}")
    assert main(arguments) == 0
    assert capsys.readouterr().out == ("" if quiet else "quiet: False\n")


@pytest.mark.parametrize("name", ["tune", "split"])
def test_someone_who_looks_sees_progress(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, so that stdout stays what the command says; tune counts its trials."""

    def run(project: Project, track: Any = iter) -> str:
        return f"{len(list(track([1, 2, 3])))} trials"

    monkeypatch.setattr(f"{cli.STAGES[name][0]}.run", run)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert main([name]) == 0
    said = capsys.readouterr()
    assert said.out == f"{name}: 3 trials\n"
    assert name in said.err


def test_contract_show_prints_every_column_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """With type, unit and what is allowed; the target is marked."""
    assert main(["contract", "show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "Monthly rents (rents), regression"
    row = {line.split()[0]: " ".join(line.split()) for line in lines if line.split()}
    assert row["area"] == "area Area number m² 5 to 1000 20 to 300"
    assert row["heating"] == "heating Heating category gas, oil, wood"
    assert "number or null" in row["balcony"]
    assert "Rent (target) number euro 0 to 20000" in row["rent"]


def test_contract_show_prints_sensitive_columns_and_promises(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each promise with its reason."""
    text = CONTRACT_TEXT.replace("example: oil\n", "example: oil\n    sensitive: true\n") + (
        "promises:\n"
        "  - {kind: monotone, column: area, direction: increasing, reason: Larger costs more.}\n"
        "  - {kind: bounded, range: [0, 9], reason: Few are higher.}\n"
    )
    (clone / "config" / "dataset.yaml").write_text(text)
    assert main(["contract", "show"]) == 0
    out = capsys.readouterr().out
    assert "heating *" in out and "* sensitive" in out
    assert "Promise monotone: area. Larger costs more." in out
    assert "Promise bounded: predictions. Few are higher." in out


def test_a_sound_contract_is_said_to_be_sound(capsys: pytest.CaptureFixture[str]) -> None:
    """With its path in the clone and its size."""
    assert main(["contract", "check"]) == 0
    expected = "config/dataset.yaml is sound: 4 features, target rent.\n"
    assert capsys.readouterr() == (expected, "")


def test_every_mistake_in_a_contract_is_printed(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each on its line with its key, on stderr."""
    text = CONTRACT_TEXT.replace("valid: [5, 1000]", "valid: [1000, 5]")
    text = text.replace("task: regression", "task: guessing").replace("unit: euro", "unti: euro")
    (clone / "config" / "dataset.yaml").write_text(text)
    assert main(["contract", "check"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "config/dataset.yaml has 3 mistakes:" in err.splitlines()[0]
    assert len(err.splitlines()) == 4
    for key in ("task: ", "target.unti: ", r"features\[0\] \(area\)"):
        assert re.search(f"(?m)^  {key}", err)


def test_the_module_is_the_command() -> None:
    """Its arguments come from the shell, its exit code goes to it."""
    command = [sys.executable, "-m", "mlref.cli", "trian"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 2
    assert "No such command 'trian'" in done.stderr


def test_a_command_imports_only_what_it_needs() -> None:
    """Help comes at once, without the training stack."""
    script = (
        "import sys; from mlref.cli import main; main(['--help']);"
        "print([n for n in ('sklearn', 'pandas', 'mlflow', 'onnxruntime', 'numpy') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
