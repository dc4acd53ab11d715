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
    monkeypatch.setattr("mlref.batch.distributed.PATIENCE", 1)
    write_csv("in/a.csv", [*ROWS, {**ROWS[0], "area": 1}])


def test_the_last_argument_is_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    write_csv("in/b.csv")
    assert main(["score", "in/a.csv", "in/b.csv", "out", "--model", "1"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("7 rows of 2 files by rents version 1")
    assert said.err == ""
    assert [len(read(path)) for path in sorted(Path("out").glob("*.parquet"))] == [3, 3]
    assert main(["-q", "score", "in", "out", "--resume"]) == 0
    assert capsys.readouterr() == ("", "")


DASK = ["--engine", "dask", "--scheduler", "tcp://127.0.0.1:9"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["in/none.csv", "out"], 1, "there is no such CSV or Parquet file"),
        (["in", "out", "--model", "9"], 1, "no model '9'"),
        (["in", "out", "--id", "name"], 1, "lacks 'name'"),
        (["in", "out", "--max-rejected", "1%"], 1, "1 of 4 rows are rejected"),
        (["in", "out", "--max-rejected", "some"], 1, "--max-rejected: a share"),
        (["in", "in"], 1, "is there already"),
        (["in"], 2, "Missing argument"),
        (["in", "out", "--engine", "spark"], 2, "'spark' is not one of"),
        (["in", "out", *DASK], 4, "The cluster tcp://127.0.0.1:9 failed"),
    ],
)
def test_a_refusal_is_a_sentence_and_a_code(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", *arguments]) == code
    err = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert said in err and "Traceback" not in err
