"""Inputs are found, and each has one place to go."""

from pathlib import Path

import pytest

from mlref.batch.files import find, plan, sweep
from mlref.core.errors import DataError, EnvironmentFault


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with some files, which is the current one."""
    for name in (
        "in/b.csv", "in/a.parquet", "in/deep/er/c.CSV", "in/notes.txt", "in/.hidden.csv",
        "in/_tmp/d.csv", "in/_SUCCESS", "odd/[1].csv", "bare/notes.txt",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a\n1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("in", ["a.parquet", "b.csv", "deep/er/c.CSV"]),
        ("in/b.csv", ["b.csv"]),
        ("in/*.csv", ["b.csv"]),
        ("in/**/*.CSV", ["deep/er/c.CSV"]),
        ("odd/[1].csv", ["[1].csv"]),
        ("in/_tmp", ["d.csv"]),
    ],
)
def test_a_path_names_files(here: Path, given: str, names: list[str]) -> None:
    found = find(given)
    assert [name for _, name in found] == names
    assert all(Path(url).is_relative_to(here) for url, _ in found)


@pytest.mark.parametrize("given", ["nothing.csv", "in/*.json", "in/notes.txt", "bare"])
def test_a_path_without_data_is_refused(given: str) -> None:
    with pytest.raises(DataError, match="there is no such CSV or Parquet file"):
        find(given)


def test_a_storage_that_is_unknown_or_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no route")

    with pytest.raises(DataError, match="nonsense://x: cannot be opened"):
        find("nonsense://x")
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.find", broken)
    with pytest.raises(EnvironmentFault, match="memory://x cannot be reached: no route"):
        find("memory://x")


def test_an_output_has_a_part_directly_inside_for_each_input() -> None:
    jobs = plan(["in", "odd"], "/out")
    assert [job.part for job in jobs] == [
        "/out/a.parquet", "/out/b.parquet", "/out/deep-er-c.parquet", "/out/[1].parquet",
    ]  # fmt: skip
    assert jobs[2].rejected == "/out.rejected/deep-er-c.csv"
    Path("in/a.csv").touch()
    with pytest.raises(DataError, match=r"a\.csv and .*a\.parquet would both become a\.parquet"):
        plan(["in"], "out")


def test_only_leftovers_of_a_killed_run_are_swept_away(here: Path) -> None:
    for name in ("out/.a.parquet.x7_q", "out.rejected/.a.csv.x7_q", "out/.git"):
        (here / name).mkdir(parents=True)
    (here / "out" / "b.parquet").touch()
    sweep(str(here / "out"))
    assert sorted(path.name for path in here.glob("out*/*")) == [".git", "b.parquet"]
