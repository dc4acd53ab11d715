"""Inputs are found, and each has one place to go."""

from pathlib import Path

import fsspec
import pytest

from mlref.batch.files import Source, find, plan, publishing, sweep
from mlref.core.errors import DataError, EnvironmentFault


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with some files, which is the current one."""
    for name in (
        "in/b.csv", "in/a.parquet", "in/deep/er/c.CSV", "in/notes.txt", "in/.hidden.csv",
        "in/_tmp/d.csv", "in/_SUCCESS", "odd/[1].csv",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a\n1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("in", ["a.parquet", "b.csv", "deep/er/c.CSV"]),
        ("in/", ["a.parquet", "b.csv", "deep/er/c.CSV"]),
        ("in/b.csv", ["b.csv"]),
        ("in/*.csv", ["b.csv"]),
        ("in/**/*.CSV", ["deep/er/c.CSV"]),
        ("odd/[1].csv", ["[1].csv"]),
        ("in/_tmp", ["d.csv"]),
    ],
)
def test_a_path_names_files(here: Path, given: str, names: list[str]) -> None:
    found = find(given)
    assert [source.name for source in found] == names
    assert all(Path(source.url).is_relative_to(here) for source in found)


def test_a_url_names_files() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/x/one.csv", b"a\n1\n")
    memory.pipe("/bucket/two.parquet", b"-")
    assert find("memory://bucket") == [
        Source("memory:///bucket/two.parquet", "two.parquet"),
        Source("memory:///bucket/x/one.csv", "x/one.csv"),
    ]
    memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("nothing.csv", "there is no such file or folder"),
        ("in/*.json", "there is no such file or folder"),
        ("in/notes.txt", "notes.txt is no .csv or .parquet file"),
        ("in/*", "notes.txt is no .csv or .parquet file"),
        ("nonsense://x", "cannot be opened"),
    ],
)
def test_what_names_nothing_is_refused(given: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        find(given)


def test_a_folder_without_data_is_refused(here: Path) -> None:
    (here / "bare").mkdir()
    with pytest.raises(DataError, match="the folder has no CSV or Parquet file"):
        find("bare")


def test_a_folder_gets_a_part_directly_inside_for_each_input(here: Path) -> None:
    jobs = plan(find("in"), "out")
    assert [job.part.removeprefix(f"{here}/") for job in jobs] == [
        "out/a.parquet", "out/b.parquet", "out/deep-er-c.parquet",
    ]  # fmt: skip
    assert jobs[2].rejected == f"{here}/out.rejected/deep-er-c.csv"


def test_two_inputs_of_one_name_are_refused() -> None:
    Path("in/a.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"a\.csv and .*a\.parquet would both become a\.parquet"):
        plan(find("in"), "out")


def test_an_output_file_takes_one_input() -> None:
    assert plan(find("in/b.csv"), "o.parquet")[0].rejected.endswith("/o.parquet.rejected")
    with pytest.raises(DataError, match="one file cannot take 3 inputs"):
        plan(find("in"), "o.parquet")


def test_an_output_of_csv_is_refused() -> None:
    with pytest.raises(DataError, match="the output is Parquet"):
        plan(find("in"), "o.csv")


def test_what_is_published_appears_at_once(here: Path) -> None:
    for url in f"{here}/new/x.txt", "memory://bucket/x.txt":
        fs, path = fsspec.url_to_fs(url)
        with pytest.raises(RuntimeError), publishing(url) as fresh:
            fresh.write_text("half")
            raise RuntimeError
        assert not fs.exists(path)
        with publishing(url) as fresh:
            fresh.write_text("whole")
            assert not fs.exists(path)
        assert fs.cat_file(path) == b"whole"
        assert [Path(name).name for name in fs.find(str(Path(path).parent))] == ["x.txt"]


def test_a_storage_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no route")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.isfile", broken)
    with pytest.raises(EnvironmentFault, match="memory://x cannot be reached: no route"):
        find("memory://x")


def test_only_what_a_killed_run_left_is_swept_away(here: Path) -> None:
    jobs = plan(find("in"), "out")
    for name in (".a.parquet.x7_q", ".mine.parquet.x7_q", ".git"):
        (here / "out" / name).mkdir(parents=True)
    (here / "out" / "b.parquet").touch()
    sweep(jobs)
    assert sorted(path.name for path in (here / "out").iterdir()) == [
        ".git", ".mine.parquet.x7_q", "b.parquet",
    ]  # fmt: skip
