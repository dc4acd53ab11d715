"""`mlref score` at the command line."""

from pathlib import Path

import pytest

from mlref.cli import main
from mlref.core.storage import Project
from tests.code.batch.conftest import ROWS, read, write_csv


@pytest.fixture(autouse=True)
def here(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with one file, in which the champion is known."""
    monkeypatch.setenv("MLREF_QUIET", "")
    write_csv("in/a.csv", [*ROWS, {**ROWS[0], "area": 1}])


def test_a_file_is_scored(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "in/a.csv", "out.parquet"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("4 rows of 1 file by rents version 1")
    assert said.err == ""
    assert len(read("out.parquet")) == 3


def test_the_last_argument_is_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    write_csv("in/b.csv")
    assert main(["-q", "score", "in/a.csv", "in/b.csv", "out", "--model", "1"]) == 0
    assert {path.name for path in Path("out").iterdir()} == {"_SUCCESS", "a.parquet", "b.parquet"}
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["in/none.csv", "out"], 1, "there is no such file or folder"),
        (["in", "out", "--model", "9"], 1, "no model '9'"),
        (["in", "out", "--id", "name"], 1, "has no column 'name'"),
        (["in", "out", "--max-rejected", "1%"], 1, "1 of 4 rows are rejected"),
        (["in", "out", "--max-rejected", "some"], 1, "takes a share"),
        (["in", "in"], 1, "is there already"),
        (["in"], 2, "Missing argument"),
        (["in", "out", "--engine", "spark"], 2, "'spark' is not one of"),
    ],
)
def test_a_refusal_is_a_sentence_and_a_code(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", *arguments]) == code
    err = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert said in err and "Traceback" not in err


def test_a_cluster_is_asked_when_it_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlref.batch.distributed.PATIENCE", 1)
    dask = ["--engine", "dask", "--scheduler", "tcp://127.0.0.1:9"]
    assert main(["score", "in", "out", *dask]) == 4
    assert "No Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
