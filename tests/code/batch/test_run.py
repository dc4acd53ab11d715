"""A run is all or nothing, tells what became of the rows, and goes on where it was killed."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from mlref.batch import run as module
from mlref.batch.counts import Counts
from mlref.batch.files import Job
from mlref.batch.score import Scored
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
    """Three files in the folder `in`, with one bad row."""
    write_csv("in/a.csv", ROWS)
    write_parquet("in/b.parquet", [*ROWS, BAD] * 2)
    write_csv("in/deep/c.csv", ROWS * 5)
    return project.root


def test_a_folder_becomes_parts_and_a_sign_that_it_is_complete(
    project: Project, folder: Path
) -> None:
    said = score(project, "in")
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "_SUCCESS", "a.parquet", "b.parquet", "deep-c.parquet",
    ]  # fmt: skip
    success = json.loads(Path("out/_SUCCESS").read_bytes())
    assert success["model"]["name"] == "rents" and success["model"]["version"] == "1"
    assert success["rows"] == {"read": 26, "scored": 24, "warned": 8, "rejected": 2}
    assert success["reasons"] == {"area: a number from 5 to 1000 (m²)": 2}
    for name, made in success["parts"].items():
        values = [row["prediction"] for row in read(Path("out") / name)]
        assert made["predictions"] == digest(struct.pack(f"<{len(values)}d", *values))
        assert made["rows"] == len(values)
    assert success["finished"].startswith("20")
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert lines[0].startswith("26 rows of 3 files by rents version 1 (")
    assert lines[1:] == [
        "scored 24", "warned 8", "8 area", "8 rooms",
        "rejected 2", "2 area: a number from 5 to 1000 (m²); for example 1",
        "Written: out, out.rejected",
    ]  # fmt: skip
    assert [line["row"] for line in rejected("out.rejected/b.csv")] == ["3", "7"]


@pytest.mark.parametrize("output", ["out", "o.parquet"])
def test_an_output_that_is_there_is_refused(project: Project, folder: Path, output: str) -> None:
    score(project, "in/a.csv", output=output)
    before = everything(folder)
    with pytest.raises(DataError, match="is there already\n  `--overwrite` .* `--resume`"):
        score(project, "in/a.csv", output=output)
    assert everything(folder) == before


def test_a_second_run_into_a_folder_is_told_of_the_first(project: Project, folder: Path) -> None:
    def meanwhile(*asked: Any) -> Any:
        with pytest.raises(DataError, match="another run is writing into it"):
            score(project, "in", resume=True)
        yield from module.threads(1)(*asked)

    module.run(project, meanwhile, ["in"], "out")
    assert "3 of the files" in score(project, "in", resume=True)


@pytest.mark.parametrize("output", ["out", "o.parquet"])
def test_overwriting_replaces_everything(project: Project, folder: Path, output: str) -> None:
    score(project, "in/b.parquet", output=output)
    score(project, "in/a.csv", output=output, overwrite=True)
    assert not Path(f"{output}.rejected").exists()
    if output == "out":
        assert sorted(os.listdir("out")) == ["_SUCCESS", "a.parquet"]
    else:
        assert len(read(output)) == 3


def test_a_folder_with_other_files_is_not_overwritten(project: Project, folder: Path) -> None:
    Path("out").mkdir()
    for name, content in ("notes.txt", b"mine"), (
        "mine.parquet",
        Path("in/b.parquet").read_bytes(),
    ):
        Path("out", name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: was not written by `mlref score`"):
            score(project, "in/a.csv", overwrite=True)
        with pytest.raises(DataError, match=f"holds {name}, which nothing of this input becomes"):
            score(project, "in/a.csv", resume=True)
        Path("out", name).unlink()
    Path("in/b.parquet").rename("out/a.parquet")
    with pytest.raises(DataError, match="a.parquet: was not written by `mlref score`"):
        score(project, "in/a.csv", overwrite=True)


def test_a_file_in_the_place_of_the_folder_is_refused(project: Project, folder: Path) -> None:
    Path("out").write_text("mine")
    with pytest.raises(DataError, match="is a file"):
        score(project, "in", overwrite=True)


@pytest.mark.parametrize(("inputs", "output"), [("in", "out"), ("in/a.csv", "o.parquet")])
def test_resuming_does_nothing_to_what_is_complete(
    project: Project, folder: Path, inputs: str, output: str
) -> None:
    first = score(project, inputs, output=output, resume=True)
    before = everything(folder)
    again = score(project, inputs, output=output, resume=True)
    assert everything(folder) == before
    assert "of the files had been scored before" in again
    assert first.splitlines()[1:] == [*again.splitlines()[2:]]


def test_a_part_that_is_older_than_its_input_is_made_again(project: Project, folder: Path) -> None:
    score(project, "in")
    write_csv("in/a.csv", ROWS[:1])
    later = Path("out/a.parquet").stat().st_mtime + 5
    os.utime("in/a.csv", (later, later))
    score(project, "in", resume=True)
    assert len(read("out/a.parquet")) == 1
    again = json.loads(Path("out/_SUCCESS").read_bytes())["parts"]["a.parquet"]
    assert again["rows"] == 1
    assert again["predictions"] == digest(struct.pack("<d", read("out/a.parquet")[0]["prediction"]))


def test_a_broken_part_is_made_again(project: Project, folder: Path) -> None:
    score(project, "in")
    whole = Path("out/a.parquet").read_bytes()
    Path("out/a.parquet").write_bytes(b"")
    score(project, "in", resume=True)
    assert Path("out/a.parquet").read_bytes() == whole


def test_a_file_that_appears_later_is_scored_by_resuming(project: Project, folder: Path) -> None:
    score(project, "in/a.csv", "in/deep")
    said = score(project, "in/a.csv", "in/deep", "in/b.parquet", resume=True)
    assert "2 of the files had been scored before" in said
    assert len(json.loads(Path("out/_SUCCESS").read_bytes())["parts"]) == 3


def test_two_models_do_not_share_an_output(
    project: Project, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "own"
    first = write_store(store)
    write_store(store, base=7.0, version=2, alias="challenger")
    monkeypatch.setenv("MLREF_STORE", str(store))
    own = Project(tmp_path)
    score(own, "in")
    with pytest.raises(DataError, match=rf"version 1, not of 2\n  `--model {first[:12]} --resume`"):
        score(own, "in", resume=True, model="2")
    score(own, "in", overwrite=True, model="2")
    assert {row["model_version"] for row in read("out/a.parquet")} == {"2"}


def test_a_bad_file_does_not_stop_the_others(project: Project, folder: Path) -> None:
    whole = Path("in/b.parquet").read_bytes()
    Path("in/b.parquet").write_bytes(whole[:-9])
    with pytest.raises(
        NotPublished, match=r"(?s)1 of 3 files .*b\.parquet: is not a complete.*--resume"
    ):
        score(project, "in")
    assert sorted(os.listdir("out")) == ["a.parquet", "deep-c.parquet"]
    Path("in/b.parquet").write_bytes(whole)
    assert "2 of the files had been scored before" in score(project, "in", resume=True)
    assert Path("out/_SUCCESS").exists()


@pytest.mark.parametrize(("output", "inputs"), [("out", "in"), ("o.parquet", "in/b.parquet")])
def test_too_many_rejected_rows_publish_nothing(
    project: Project, folder: Path, output: str, inputs: str
) -> None:
    with pytest.raises(NotPublished, match=r"2 of (26|8) rows are rejected"):
        score(project, inputs, output=output, max_rejected="1")
    left = [name for name in everything(folder) if name.startswith(output)]
    assert left == [f"{output}.rejected" + ("/b.csv" if output == "out" else "")]
    score(project, inputs, output=output, max_rejected="2")
    assert Path(output).exists()


def test_a_fault_of_the_disk_stops_the_run(
    project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def attempt(job: Job, *_: object) -> Scored | MlrefError:
        begun.append(job.source.name)
        return EnvironmentFault(f"{job.part} cannot be written", OSError(28, "No space left"))

    monkeypatch.setattr(module, "attempt", attempt)
    with pytest.raises(EnvironmentFault, match="No space left"):
        module.run(project, module.threads(1), ["in"], "out")
    assert not Path("out/_SUCCESS").exists()


def test_an_unforeseen_fault_stops_the_run(
    project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attempt(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "attempt", attempt)
    with pytest.raises(ZeroDivisionError):
        score(project, "in")
    assert not Path("out").exists() or os.listdir("out") == []


def test_another_storage_gets_the_same_bytes(project: Project, folder: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    score(project, "in")
    score(project, "in", output="memory://bucket/out")
    with pytest.raises(DataError, match="is there already"):
        score(project, "in", output="memory://bucket/out")
    assert "3 of the files" in score(project, "in", output="memory://bucket/out", resume=True)
    for name, content in everything(folder / "out").items():
        if name != "_SUCCESS":
            assert memory.cat_file(f"/bucket/out/{name}") == content
    assert memory.exists("/bucket/out/_SUCCESS") and memory.exists("/bucket/out.rejected/b.csv")
    memory.rm("/bucket", recursive=True)


def test_many_reasons_are_counted_the_most_frequent_first() -> None:
    counts = Counts.sum()
    names = [f"c{number}" for number in range(1, 25)]
    counts.reasons.update({name: number for number, name in enumerate(names, 1)})
    counts.examples.update(dict.fromkeys(names, "7"))
    lines = [" ".join(line.split()) for line in counts.lines()]
    assert lines[3] == "24 c24; for example 7"
    assert "… for 4 more" in lines
