"""The command line: commands, exit codes and what is printed where."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlref import __version__, cli
from mlref.cli import main
from mlref.core.errors import EnvironmentFault, GateBlocked, MlrefError
from mlref.core.storage import Project
from tests.fakes import CONTRACT_TEXT

SOURCE = Path(cli.__file__).parent
PLANES = [
    name
    for name, folder in {"serve": "serving", "score": "batch"}.items()
    if (SOURCE / folder).is_dir()
]
RUNS = [f"runs {verb}" for verb in ("list", "compare", "export", "delete", "restore", "reproduce")]
LOG = ["log prune", "log erase"]
GROUPS = ["contract show", "contract check", "labels issues", "labels import", *LOG, *RUNS]
REGISTRY = ["register", "models", "promote", "rollback", "audit", "lineage"]
STAGES = ("ingest", "validate", "split", "tune", "train", "package", "evaluate")
COMMANDS = [*STAGES, *REGISTRY, "augment", *PLANES, *GROUPS]
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
    assert known | {"contract", "labels", "log", "runs"} == {
        command.split()[0] for command in COMMANDS
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["trian"],
        ["train", "--fast"],
        ["train", "extra"],
        ["contract"],
        ["contract", "print"],
        ["labels", "import"],
        ["labels", "issues", "--rows", "0"],
        ["augment", "--copies", "0"],
        ["runs"],
        ["runs", "compare"],
        ["runs", "delete", "--yes"],
        ["runs", "list", "--limit", "0"],
        ["log", "prune", "20001"],
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


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_runs_in_the_clone_and_says_what_it_did(
    name: str, clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also from a folder inside it."""
    (clone / "config" / "inner").mkdir()
    monkeypatch.chdir(clone / "config" / "inner")
    monkeypatch.setattr(f"{STAGES[name][0]}.run", lambda project, **_: f"ran in {project.root}")
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


def test_the_exit_code_is_left_where_the_pipeline_looks(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC, between the two, has one code for every failure; a full disk takes no note."""
    monkeypatch.setattr(STEP, raising(EnvironmentFault("Disk", OSError(28, "No space left"))))
    monkeypatch.setenv("MLREF_EXIT_CODE_NOTE", str(clone / "note"))
    assert main(["split"]) == 4
    assert (clone / "note").read_text() == "4"
    monkeypatch.setenv("MLREF_EXIT_CODE_NOTE", str(clone / "missing" / "note"))
    assert main(["split"]) == 4


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


GATE = {
    "verdict": "keep",
    "checks": [{"name": "coverage", "verdict": "keep", "reason": "Its intervals are wide."}],
}


@pytest.mark.parametrize("verb", ["run", "rehearse"])
@pytest.mark.parametrize("explain", [False, True])
def test_register_explains_itself_and_can_be_rehearsed(
    verb: str, explain: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rehearsal calls what changes nothing; in a pipe each check is one line."""
    for name in ("run", "rehearse"):
        monkeypatch.setattr(f"mlref.registry.register.{name}", lambda _, name=name: f"{name} it")
    monkeypatch.setattr("mlref.registry.register.decision", lambda _: GATE)
    arguments = ["--dry-run"] * (verb == "rehearse") + ["--explain"] * explain
    assert main(["register", *arguments]) == 0
    *table, last = capsys.readouterr().out.splitlines()
    assert last == f"{verb} it"
    assert [line.split() for line in table[2:]] == (
        [["coverage", "–", *"Its intervals are wide.".split()]] if explain else []
    )


def test_promote_and_rollback_pass_on_what_was_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Version, reason, force and dry run."""
    for name in ("promote", "rollback"):
        monkeypatch.setattr(f"mlref.registry.promote.{name}", lambda _, *given: repr(given))
    assert main(["promote", "2", "--force", "--reason", "mine"]) == 0
    assert main(["rollback", "--dry-run"]) == 0
    assert capsys.readouterr().out == "('2', 'mine', True, False)\n('', True)\n"
    assert main(["promote"]) == 2


def test_without_models_the_tables_have_a_header_only(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is made."""
    assert main(["models"]) == main(["audit"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["version", "when"]
    assert not Project.here().store.exists()


@pytest.mark.parametrize(("options", "jobs"), [([], 1), (["--jobs", "3"], 3)])
def test_tune_is_told_how_many_processes_it_may_use(
    options: list[str], jobs: int,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """One where nothing is said."""
    monkeypatch.setattr("mlref.training.tune.run", lambda _, jobs: f"{jobs} processes")
    assert main(["tune", *options]) == 0
    assert capsys.readouterr().out == f"tune: {jobs} processes\n"


@pytest.mark.parametrize("name", ["tune", "split", "augment"])
def test_someone_who_looks_sees_progress(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, so that stdout stays what the command says; tune counts its fits."""

    def run(project: Project, track: Any = iter, **_: Any) -> str:
        return f"{len(list(track([1, 2, 3])))} trials"

    module = STAGES[name][0] if name in STAGES else f"mlref.evaluation.{name}"
    monkeypatch.setattr(f"{module}.run", run)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert main([name]) == 0
    said = capsys.readouterr()
    assert said.out.endswith("3 trials\n")
    assert name in said.err


def test_labels_and_augment_pass_their_options_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And print what the verb says."""
    verbs = "mlref.evaluation"
    monkeypatch.setattr(f"{verbs}.labels.review", lambda _, output, listed: f"{output} {listed}")
    monkeypatch.setattr(f"{verbs}.labels.add", lambda _, file, dry_run: f"{file} {dry_run}")
    monkeypatch.setattr(f"{verbs}.augment.run", lambda _, copies: f"{copies} copies")
    for line in (
        "labels issues --output x.csv --rows 3",
        "labels import x.csv --dry-run",
        "augment --copies 7",
    ):
        assert main(line.split()) == 0
    assert capsys.readouterr().out == "x.csv 3\nx.csv True\n7 copies\n"


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


TABLE = (["run_id", "note"], [["c0ffee", "x" * 50], ["bad", "[red]y[/red]"]])


def test_a_table_is_whole_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cell is cut or read as a colour, no line ends with blanks."""
    monkeypatch.setenv("COLUMNS", "30")
    assert cli.table(*TABLE).splitlines() == [
        "run_id  note",
        f"c0ffee  {'x' * 50}",
        "bad     [red]y[/red]",
    ]


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        ("48", ["run_id  note", f"c0ffee  {'x' * 39}…", "bad     [red]y[/red]"]),
        ("47", ["run_id", "c0ffee", "bad", "No room for: note."]),
    ],
)
def test_a_table_fits_the_terminal(
    columns: str, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long cell is cut; a column without room is named."""
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert cli.table(*TABLE).splitlines() == lines
    assert max(map(len, lines)) <= int(columns)


def test_a_table_of_wide_signs_is_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take two places each."""
    assert cli.table(["a", "b"], [["糖尿", "1"], ["x", "2"]]).splitlines() == [
        "a     b",
        "糖尿  1",
        "x     2",
    ]


def test_runs_list_passes_its_options_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says when there is more."""
    given = {}

    def listing(_: Project, *arguments: Any, **options: Any) -> Any:
        given.update(arguments=arguments, **options)
        return (["run_name"], [["ridge"]]), True

    monkeypatch.setattr("mlref.registry.runs.listing", listing)
    words = ["--filter", "metrics.rmse < 60", "--sort", "metrics.rmse DESC, start_time", "--columns",
             "run_name", "--limit", "1", "--all", "--experiment", "others"]  # fmt: skip
    assert main(["runs", "list", *words]) == 0
    assert given == {
        "arguments": (
            "metrics.rmse < 60", ["metrics.rmse DESC", "start_time"], ["run_name"], 1, True, "others"
        ),
        "short": False,
    }  # fmt: skip
    out = capsys.readouterr().out
    assert out == "run_name\nridge\nThese are the first 1; --limit shows more.\n"


def test_runs_list_says_that_none_matches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which is an answer, not an error."""
    monkeypatch.setattr("mlref.registry.runs.listing", lambda *_, **__: (([], []), False))
    assert main(["runs", "list"]) == 0
    assert capsys.readouterr().out == "No run matches.\n"


@pytest.mark.parametrize("verb", ["list", "compare a b", "export x.csv", "delete a", "restore a"])
def test_without_runs_every_verb_says_what_makes_them(
    verb: str, clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit code 1, and without making a store."""
    import yaml

    from tests.projects import PARAMS

    (clone / "config" / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    before = sorted(clone.rglob("*"))
    assert main(["runs", *verb.split()]) == 1
    assert "There are no runs yet: run `make train`." in capsys.readouterr().err
    assert sorted(clone.rglob("*")) == before


CHANGES = ["delete", "restore"]


def changing(monkeypatch: pytest.MonkeyPatch, verb: str) -> list[bool]:
    """Let a verb ask for consent to one run, and note the answers."""
    answers = []

    def change(_: Project, references: list[str], agreed: Any, force: bool = False) -> str | None:
        answers.append(agreed((["run_id"], [references])))
        return "Done." if answers[-1] else None

    monkeypatch.setattr(f"mlref.registry.runs.{verb}", change)
    return answers


@pytest.mark.parametrize("verb", CHANGES)
@pytest.mark.parametrize(("typed", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_a_person_is_asked_before_runs_change(
    verb: str, typed: str, code: int,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """After a table of what is meant; only a yes is one."""
    import io

    answers = changing(monkeypatch, verb)
    terminal = io.StringIO(f"{typed}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert main(["runs", verb, "c0ffee"]) == code
    assert answers == [typed == "y"]
    out = capsys.readouterr().out
    assert out.startswith("run_id\nc0ffee\n")
    assert f"{verb.capitalize()} these? [y/N]" in out
    assert out.endswith("Done.\n" if typed == "y" else "Nothing was changed.\n")


@pytest.mark.parametrize("verb", CHANGES)
def test_without_a_person_nothing_changes_unless_it_was_said(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script says --yes."""
    answers = changing(monkeypatch, verb)
    assert main(["runs", verb, "c0ffee"]) == 1
    assert "Nobody is there to answer: add --yes, or --dry-run to look." in capsys.readouterr().err
    assert main(["runs", verb, "c0ffee", "--yes"]) == 0
    assert answers == [True]


@pytest.mark.parametrize("verb", CHANGES)
@pytest.mark.parametrize("more", [[], ["--yes"]])
def test_a_dry_run_only_shows(
    verb: str, more: list[str],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Also with --yes, and it is done."""
    answers = changing(monkeypatch, verb)
    assert main(["runs", verb, "c0ffee", "--dry-run", *more]) == 0
    assert answers == [False]
    assert capsys.readouterr().out == "run_id\nc0ffee\nNothing was changed.\n"


def test_runs_compare_says_table_and_sentences(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this order."""
    given = []

    def compare(_: Project, *arguments: Any) -> Any:
        given.append(arguments)
        return (["", "a", "b"], [["alpha", "1", "2"]]), ["They differ.", "By much."]

    monkeypatch.setattr("mlref.registry.compare.compare", compare)
    assert main(["runs", "compare", "a", "b", "--plot", "x.png"]) == 0
    assert given == [(["a", "b"], Path("x.png"))]
    assert capsys.readouterr().out == "       a  b\nalpha  1  2\n\nThey differ.\nBy much.\n"


def test_runs_export_says_what_was_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the path as it was given."""
    monkeypatch.setattr(
        "mlref.registry.runs.export", lambda _, path, experiment: f"{path} {experiment}"
    )
    assert main(["runs", "export", "x.csv", "--experiment", "others"]) == 0
    assert capsys.readouterr().out == "x.csv others\n"


@pytest.mark.parametrize(("here", "code"), [("1.50", 0), ("1.51", 1)])
def test_runs_reproduce_ends_with_the_count_or_names_what_disagrees(
    here: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table comes first in both cases."""
    from mlref.registry.reproduce import Figure

    monkeypatch.setattr(
        "mlref.registry.reproduce.run", lambda _: [Figure("alpha 1", "mae", "1.50", here)]
    )
    assert main(["runs", "reproduce"]) == code
    out, err = capsys.readouterr()
    assert out.startswith(f"run      mae   here\nalpha 1  1.50  {here}\n")
    assert out.endswith("\n1 of 1 figures agree\n") == (code == 0)
    assert ("alpha 1: mae is 1.51 here, 1.50 was published" in err) == (code == 1)


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


MODEL = {
    "version": "7", "aliases": ["champion"], "commit": None, "params": {"split": {"seed": 4}},
    "packages": {},
}  # fmt: skip


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A store that knows one model, and a verification that succeeds; collects what was asked for."""
    asked: list[str] = []

    def describe(_: object, reference: str) -> dict[str, Any]:
        asked.append(reference)
        return dict(MODEL)

    def verify(_: Project, model: dict[str, Any], report: Callable[[str], None]) -> str:
        asked.append(f"verify {model['version']}")
        report("split done")
        return "reproduced"

    monkeypatch.setattr("mlref.registry.lineage.describe", describe)
    monkeypatch.setattr("mlref.registry.lineage.verify", verify)
    return asked


def test_lineage_is_a_tree(known: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Nested as the record is."""
    assert main(["lineage", "champion"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "version 7 (champion)", "├── commit: None", "├── params", "│   └── split",
        "│       └── seed: 4", "└── packages: {}",
    ]  # fmt: skip
    assert known == ["champion"]


def test_lineage_as_json_is_what_is_recorded(
    known: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """For other programs; nothing is trained unless that is asked for."""
    assert main(["lineage", "7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == MODEL
    assert known == ["7"]


@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_a_verification_reports_on_stderr_what_it_has_done(
    known: list[str], capsys: pytest.CaptureFixture[str], quiet: list[str]
) -> None:
    """Unless it is to be quiet; its result is part of the lineage."""
    assert main(["lineage", "7", "--verify", "--json", *quiet]) == 0
    said = capsys.readouterr()
    assert said.err == ("" if quiet else "split done\n")
    assert json.loads(said.out) == MODEL | {"verified": "reproduced"}
    assert known == ["7", "verify 7"]
