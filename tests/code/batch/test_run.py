"""A run is all or nothing, tells what became of the rows, and goes on where it was killed."""

import contextlib
import fcntl
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlref.batch import run as module
from mlref.batch.counts import check, total
from mlref.batch.files import Job
from mlref.core.errors import DataError, EnvironmentFault, MlrefError, NotPublished
from mlref.core.storage import Project, digest
from tests.code.batch.conftest import (
    ROWS,
    everything,
    read,
    rejected,
    score,
    write_csv,
    write_parquet,
)
from tests.fakes import write_store

BAD = {**ROWS[0], "area": 1}


@pytest.fixture
def folder(project: Project) -> Path:
    """Three files in the folder `in`, with one bad row, twice."""
    write_csv("in/a.csv", ROWS)
    write_parquet("in/b.parquet", [*ROWS, BAD] * 2)
    write_csv("in/deep/c.csv", ROWS * 5)
    return project.root


def test_a_folder_becomes_parts_and_a_sign_that_it_is_complete(
    project: Project, folder: Path
) -> None:
    said = score(project, "in")
    assert [*everything(Path("out"))] == ["_SUCCESS", "a.parquet", "b.parquet", "deep-c.parquet"]
    success = json.loads(Path("out/_SUCCESS").read_bytes())
    assert success["model"]["name"] == "rents" and success["model"]["version"] == "1"
    assert success["rows"] == {"read": 26, "scored": 24, "warned": 8, "rejected": 2}
    assert success["reasons"] == {"area: a number from 5 to 1000 (m²)": 2}
    for name, part in success["parts"].items():
        values = [row["prediction"] for row in read(Path("out") / name)]
        assert part["predictions"] == digest(struct.pack(f"<{len(values)}d", *values))
        assert part["counts"]["rows"]["scored"] == len(values)
    assert success["finished"].startswith("20")
    head, *rest = [" ".join(line.split()) for line in said.splitlines()]
    assert head.startswith("26 rows of 3 files by rents version 1 (")
    assert rest == [
        "scored 24", "warned 8", "8 area", "8 rooms",
        "rejected 2", "2 area: a number from 5 to 1000 (m²); for example 1",
        "Written: out, out.rejected",
    ]  # fmt: skip
    assert [line["row"] for line in rejected("out.rejected/b.csv")] == ["3", "7"]


def test_an_output_that_is_there_is_refused_or_replaced(project: Project, folder: Path) -> None:
    score(project, "in/b.parquet")
    before = everything(folder)
    with pytest.raises(DataError, match="out: is there already\n  `--overwrite` .* `--resume`"):
        score(project, "in/a.csv")
    assert everything(folder) == before
    score(project, "in/a.csv", overwrite=True)
    assert [*everything(Path("out"))] == ["_SUCCESS", "a.parquet"]
    assert not Path("out.rejected").exists()


def test_a_second_run_into_a_folder_waits(project: Project, folder: Path) -> None:
    @contextlib.contextmanager
    def meanwhile(model: module.LoadedModel) -> Iterator[module.Submit]:
        with Path("out/.lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with module.threads(1)(model) as submit:
            yield submit

    module.run(project, meanwhile, ["in"], "out")
    assert "3 files (3 scored before)" in score(project, "in", resume=True)


@pytest.mark.parametrize("name", ["notes.txt", "mine.parquet", "a.parquet"])
def test_files_of_others_are_neither_replaced_nor_kept(
    project: Project, folder: Path, name: str
) -> None:
    Path("out").mkdir()
    shutil.copy("in/b.parquet", f"out/{name}")
    before = everything(folder)
    for option in "overwrite", "resume":
        with pytest.raises(DataError, match=f"{name}: was not written by `mlref score`"):
            score(project, "in/a.csv", **{option: True})
    assert everything(folder) == before


def test_a_file_in_the_place_of_the_folder_is_refused(project: Project, folder: Path) -> None:
    Path("out").write_text("mine")
    with pytest.raises(EnvironmentFault, match=r"out/\.lock cannot be locked"):
        score(project, "in", overwrite=True)


def test_resuming_does_nothing_to_a_complete_output(project: Project, folder: Path) -> None:
    first = score(project, "in", resume=True)
    before = everything(folder)
    again = score(project, "in", resume=True)
    assert everything(folder) == before
    assert "3 files (3 scored before)" in again
    assert first.splitlines()[1:] == again.splitlines()[1:]
    with pytest.raises(DataError, match=r"b.parquet: nothing of this input becomes it"):
        score(project, "in/a.csv", resume=True)


def broken() -> None:
    Path("out/a.parquet").write_bytes(b"")


def older() -> None:
    write_csv("in/a.csv", [*ROWS, *ROWS])
    later = Path("out/a.parquet").stat().st_mtime + 5
    os.utime("in/a.csv", (later, later))


def of_another_model() -> None:
    Path("store/champion").write_text(write_store(Path("store"), base=7.0, version=2))


@pytest.mark.parametrize(("harm", "kept"), [(broken, 2), (older, 2), (of_another_model, 0)])
def test_resuming_makes_again_a_part_that_is(
    harm: Callable[[], None], kept: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_store(folder / "store")
    monkeypatch.setenv("MLREF_STORE", str(folder / "store"))
    score(Project(folder), "in")
    harm()
    said = score(Project(folder), "in", resume=True)
    assert ("3 files " + (f"({kept} scored before) " if kept else "") + "by rents") in said
    resumed = everything(folder / "out")
    score(Project(folder), "in", output="fresh")
    assert {**resumed, "_SUCCESS": b""} == {**everything(folder / "fresh"), "_SUCCESS": b""}


def test_a_bad_file_does_not_stop_the_others(project: Project, folder: Path) -> None:
    whole = Path("in/b.parquet").read_bytes()
    Path("in/b.parquet").write_bytes(whole[:-9])
    with pytest.raises(
        NotPublished, match=r"(?s)1 of 3 files .*b\.parquet: is not a complete.*--resume"
    ):
        score(project, "in")
    assert [*everything(Path("out"))] == ["a.parquet", "deep-c.parquet"]
    with pytest.raises(DataError, match="b.parquet: is not a complete"):
        score(project, "in/b.parquet", output="alone")
    Path("in/b.parquet").write_bytes(whole)
    assert "3 files (2 scored before)" in score(project, "in", resume=True)
    assert Path("out/_SUCCESS").exists()


def test_with_too_many_rejected_rows_an_output_is_not_complete(
    project: Project, folder: Path
) -> None:
    with pytest.raises(NotPublished, match=r"2 of 26 rows are rejected \(7\.692 %\); allowed: 1"):
        score(project, "in", max_rejected="1")
    assert not Path("out/_SUCCESS").exists()
    assert "(3 scored before)" in score(project, "in", max_rejected="8%", resume=True)
    assert Path("out/_SUCCESS").exists()


@pytest.mark.parametrize(
    "fault", [EnvironmentFault("out", OSError()), ValueError(), KeyboardInterrupt()]
)
def test_a_fault_that_meets_every_file_stops_the_run(
    project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    begun: list[str] = []

    def score_file(job: Job, _: object) -> None:
        begun.append(job.name)
        raise fault

    monkeypatch.setattr(module, "score_file", score_file)
    with pytest.raises(type(fault)):
        module.run(project, module.threads(1), ["in"], "out")
    assert everything(Path("out")) == {}


@pytest.mark.parametrize(
    ("limit", "most"), [("1%", 1), ("0%", 0), ("0", 0), ("2", 2), ("0.5%", 0), ("100%", 100)]
)
def test_a_limit_is_kept_up_to_itself(limit: str, most: int) -> None:
    check(limit, total()["rows"])
    check(limit, {"read": 100, "rejected": most})
    with pytest.raises(NotPublished, match=f"{most + 1} of 100 rows are rejected"):
        check(limit, {"read": 100, "rejected": most + 1})


def test_another_form_of_limit_is_refused() -> None:
    for limit in ("", "%", "1.5", "-1", "-1%", "101%", "few", "nan%", "1 %%"):
        with pytest.raises(MlrefError, match="--max-rejected"):
            check(limit, total()["rows"])
