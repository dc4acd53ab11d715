"""With --to-log what a run scored is in the prediction log, once; what it did not publish is not."""

import datetime
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mlref.batch import log as module
from mlref.batch.distributed import cluster
from mlref.batch.score import Request, run
from mlref.cli import main
from mlref.core.errors import EnvironmentFault, NotPublished
from mlref.core.storage import Project
from mlref.prediction_log.database import Database
from mlref.prediction_log.encode import Batch
from mlref.prediction_log.reader import Logged, Period
from mlref.prediction_log.reader import read as read_log
from mlref.prediction_log.reader import refusals
from mlref.prediction_log.sink import Sink
from tests.code.batch.conftest import ROWS, everything, read, score, write_csv, write_parquet

NAMED = [{"name": name, **row} for name, row in zip(("x", "y", "z"), ROWS, strict=True)]
BAD = {**ROWS[0], "area": 1}
ALWAYS = Period(
    datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC),
)


@pytest.fixture(autouse=True)
def _own_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is the file in the project's folder."""
    for name in ("MLREF_LOG_URL", "MLREF_LOG_SPOOL"):
        monkeypatch.delenv(name, raising=False)


def logged(project: Project) -> Logged:
    """All that is in the log."""
    database = Database.of(project)
    try:
        return read_log(database, ALWAYS)
    finally:
        database.close()


def refused(project: Project) -> list[tuple[str | None, str, int]]:
    """The counts of refusals in the log."""
    database = Database.of(project)
    try:
        frame = refusals(database, ALWAYS)
        columns = [None if pd.isna(name) else str(name) for name in frame["column"]]
        return [*zip(columns, frame["reason"], frame["count"], strict=True)]
    finally:
        database.close()


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_rows_arrive_once_as_they_are_in_the_part(
    project: Project, write: Callable[..., Path]
) -> None:
    """Values equal to the bit, features as they were sent, warnings by column, the key as subject."""
    path = write("in.csv" if write is write_csv else "in.parquet", NAMED)
    said = score(project, str(path), output="o.parquet", key="name", to_log=True)
    assert said.endswith("Logged: 3 rows")
    found = logged(project)
    frame = found.predictions.set_index("subject").loc[["x", "y", "z"]]
    part = read("o.parquet")
    for ours, theirs in [("value", "prediction"), ("lower", "lower"), ("upper", "upper")]:
        assert frame[ours].tolist() == [row[theirs] for row in part]
    assert set(frame["source"]) == {"batch"} and set(frame["role"]) == {"champion"}
    assert [len(some) for some in frame["warnings"]] == [len(row["warnings"]) for row in part]
    assert frame["warnings"].tolist()[:2] == [[], []]
    features = found.features.set_index(found.predictions["subject"]).loc[["x", "y", "z"]]
    assert features["heating"].tolist() == ["oil", "gas", "wood"]
    assert features["area"].tolist() == [70.5, 20.0, 400.0]
    assert pd.isna(features["balcony"].iloc[1])


def test_the_output_is_the_same_with_and_without(project: Project) -> None:
    """To the byte: the ids are in the log alone."""
    write_csv("in.csv", [*ROWS, BAD])
    score(project, "in.csv", output="a.parquet")
    score(project, "in.csv", output="b.parquet", to_log=True)
    assert Path("a.parquet").read_bytes() == Path("b.parquet").read_bytes()


def test_refusals_are_counted_by_column_and_reason(project: Project) -> None:
    """No values; the column that names a row is none of the contract's."""
    bad = {**NAMED[0], "name": "w", "area": 1}
    write_csv("in.csv", [*NAMED, bad, {**bad, "name": "v"}, NAMED[0]])
    score(project, "in.csv", key="name", to_log=True)
    assert refused(project) == [
        ("area", "allowed: a number from 5 to 1000 (m²)", 2),
        (None, "allowed: a name that no row before it in this file has", 1),
    ]
    assert len(logged(project).predictions) == 3


@pytest.mark.parametrize("limit", [None, "50%"])
def test_a_failed_part_leaves_nothing_and_resuming_logs_only_what_is_new(
    project: Project, limit: str | None
) -> None:
    """The parts beside it are logged; scoring anew logs them anew."""
    write_csv("in/a.csv", ROWS)
    Path("in/b.csv").write_text("a file of another kind\n1\n")
    with pytest.raises(NotPublished):
        score(project, "in", to_log=True, max_rejected=limit)
    assert len(logged(project).predictions) == 3
    write_csv("in/b.csv", ROWS * 2)
    for _ in range(2):
        score(project, "in", to_log=True, resume=True, max_rejected=limit)
        assert len(logged(project).predictions) == 9
    score(project, "in", to_log=True, overwrite=True)
    assert len(logged(project).predictions) == 18


@pytest.mark.parametrize("output", ["out", "o.parquet"])
def test_too_many_rejected_rows_leave_nothing(project: Project, output: str) -> None:
    """Also in a folder, whose parts were there for a while."""
    write_csv("in.csv", [*ROWS, BAD])
    with pytest.raises(NotPublished):
        score(project, "in.csv", output=output, to_log=True, max_rejected="1%")
    assert logged(project).predictions.empty and refused(project) == []


def test_without_the_database_nothing_is_scored(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence and exit code 4; an output that is there stays, also with --overwrite."""
    write_csv("in.csv")
    score(project, "in.csv")
    before = everything(Path("out"))
    monkeypatch.setenv("MLREF_LOG_URL", "sqlite:///absent/log.db")
    monkeypatch.setattr("mlref.core.storage.Project.here", lambda: project)
    assert main(["score", "in.csv", "out", "--overwrite", "--to-log"]) == 4
    assert "The prediction log" in capsys.readouterr().err
    assert everything(Path("out")) == before


def test_rows_wait_in_the_spool_when_the_database_goes_away(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends well and says where they wait; the next one brings them in."""
    write_csv("in.csv")

    def away(self: Sink, batch: Batch) -> Batch:
        raise EnvironmentFault("The database is away", OSError("planted"))

    with monkeypatch.context() as patch:
        patch.setattr(Sink, "_insert", away)
        said = score(project, "in.csv", to_log=True)
    assert f"some wait in {project.spool}" in said
    assert logged(project).predictions.empty
    assert score(project, "in.csv", output="more", to_log=True).endswith("Logged: 3 rows")
    assert len(logged(project).predictions) == 6


def test_many_rows_are_written_some_at_a_time(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100,000 rows: no transaction has more than 10,000, and each row is there once."""
    write_parquet("in.parquet", [*ROWS, ROWS[0]] * 25_000)
    sizes: list[int] = []
    write = Sink.write

    def noted(self: Sink, batch: Batch) -> None:
        sizes.append(sum(map(len, batch.values())))
        write(self, batch)

    monkeypatch.setattr(Sink, "write", noted)
    score(project, "in.parquet", to_log=True)
    assert max(sizes) == module.ROWS and sum(sizes) == 100_000
    assert len(logged(project).predictions) == 100_000


def test_a_run_without_it_does_not_import_sqlalchemy(project: Project) -> None:
    """The start is part of the time of a small file."""
    write_csv("in.csv")
    code = (
        "import sys; from mlref.batch.score import Request, run, threads\n"
        "from mlref.core.storage import Project\n"
        "run(Project.here(), Request(['in.csv'], 'out'), threads(1))\n"
        "sys.exit('sqlalchemy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_with_a_cluster_the_rows_are_logged_where_the_user_is(project: Project) -> None:
    """The same rows; no worker opens the database."""
    write_csv("in/a.csv")
    write_csv("in/b.csv")
    request = Request(["in"], "out", to_log=True)
    assert run(project, request, cluster(None, 1)).endswith("Logged: 6 rows")
    assert len(logged(project).predictions) == 6
