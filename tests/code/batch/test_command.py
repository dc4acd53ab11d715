"""`mlref score` at the command line."""

from pathlib import Path

import pytest

from mlref.cli import main
from mlref.core.storage import Project
from tests.code.batch.conftest import ROWS, read, write_csv
from tests.conftest import Told


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


@pytest.mark.parametrize(
    "arguments",
    [
        ["in/none.csv", "out"],
        ["in", "out", "--model", "9"],
        ["in", "out", "--id", "name"],
        ["in", "out", "--max-rejected", "1%"],
        ["in", "out", "--max-rejected", "some"],
        ["in", "in"],
    ],
    ids=" ".join,
)
def test_a_refusal_is_a_sentence_and_code_1(
    arguments: list[str], capsys: pytest.CaptureFixture[str], told: Told
) -> None:
    assert main(["score", *arguments]) == 1
    told(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["in"], "Missing argument"), (["in", "out", "--engine", "spark"], "'spark' is not one of")],
)
def test_wrong_usage_is_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", *arguments]) == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_cluster_that_is_away_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = ["--engine", "dask", "--scheduler", "tcp://127.0.0.1:9"]
    assert main(["score", "in", "out", *cluster]) == 4
    assert "The cluster tcp://127.0.0.1:9 failed" in capsys.readouterr().err
