"""Files are replaced at once or not at all."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlref.core.errors import EnvironmentFault, MlrefError
from mlref.core.storage import (
    Project,
    digest,
    locked,
    read_json,
    replacing,
    rounded,
    to_json,
    write_json,
)

SRC = str(Path(__file__).parents[2] / "src")


def python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    """A second process with this package."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": SRC},
    )  # fmt: skip


def test_a_file_is_replaced_only_at_the_end(tmp_path: Path) -> None:
    """A reader sees the old content until the new one is complete."""
    path = tmp_path / "x.txt"
    path.write_text("old")
    with replacing(path) as fresh:
        fresh.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    for name in ("old.txt", "new.txt"):
        with replacing(folder) as fresh:
            (fresh / "deep").mkdir(parents=True)
            (fresh / "deep" / name).write_text(name)
    assert [path.name for path in folder.rglob("*")] == ["deep", "new.txt"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (OSError(28, "No space left on device"), EnvironmentFault),
        (ValueError("a defect"), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (MlrefError("refused"), MlrefError),
    ],
)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_was_there_survives_an_error(
    tmp_path: Path, raised: BaseException, seen: type[BaseException], kind: str
) -> None:
    """A file or a folder; the half-written one is removed, and the disk's reason is told."""
    path = tmp_path / "x"
    kept = path if kind == "file" else path / "inside.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("old")
    with pytest.raises(seen) as caught, replacing(path) as fresh:
        fresh.write_text("half")
        raise raised
    assert kept.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    if seen is EnvironmentFault:
        assert str(caught.value) == (
            f"{path} cannot be written: No space left on device. What was there before is unchanged."
        )


def test_a_folder_survives_when_it_cannot_be_replaced_at_the_very_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence says that it is unchanged, so it has to be."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model").write_text("old")

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(EnvironmentFault, match="unchanged"), replacing(folder) as fresh:
        fresh.mkdir()
    assert (folder / "model").read_text() == "old"


def test_what_is_written_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "x", list[tuple[int, bool]]()
    monkeypatch.setattr(
        os, "fsync", lambda file: synced.append((os.fstat(file).st_size, path.exists()))
    )
    with replacing(path) as fresh:
        fresh.write_bytes(b"four")
    with replacing(path, flush=False) as fresh:
        fresh.write_bytes(b"six")
    assert synced == [(4, False)]


def test_a_full_disk_leaves_the_earlier_file_intact(tmp_path: Path) -> None:
    """A process whose files may have 4,000 bytes at most stands for the full disk."""
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    code = """
import resource, sys
from pathlib import Path
from mlref.core.errors import EnvironmentFault
from mlref.core.storage import write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
try:
    write_bytes(Path(sys.argv[1]), bytes(10_000))
except EnvironmentFault as fault:
    print(fault)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
"""
    said, errors = python(code, str(path)).communicate()
    assert said == (
        f"{path} cannot be written: File too large. What was there before is unchanged.\n"
    ), errors
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_canonical() -> None:
    """Sorted keys, six significant digits, one newline at the end, text as it is, NaN as null."""
    value = {"b": 54.123456789, "a": (1, float("nan"), float("inf"), "m²"), "c": 1234567.0, 3: True}
    assert to_json(value).decode() == (
        '{\n "3": true,\n "a": [\n  1,\n  null,\n  null,\n  "m²"\n ],\n "b": 54.1235,\n "c": 1234570.0\n}\n'
    )
    assert to_json(dict(reversed(value.items()))) == to_json(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_rounding_twice_is_rounding_once(value: float) -> None:
    """So that what is read back and written again keeps its bytes."""
    once = rounded(value)
    assert rounded(once) == once
    assert once == pytest.approx(value, rel=1e-5, abs=5e-324)


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xff"])
def test_broken_json_is_named_with_the_command_that_writes_it(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(MlrefError, match=r"x\.json cannot be read .* Run `make train`"):
        read_json(tmp_path / "x.json")


def test_a_digest_is_sha_256_of_bytes_or_of_a_file(tmp_path: Path) -> None:
    """The same for both; the value is the standard's for the empty message."""
    (tmp_path / "empty").touch()
    expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # pragma: allowlist secret
    assert digest(b"") == digest(tmp_path / "empty") == expected


HOLDER = """
import sys
from pathlib import Path
from mlref.core.storage import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_excludes_a_second_process_until_its_holder_is_killed(tmp_path: Path) -> None:
    """Also by kill -9, after which nobody could have tidied up."""
    path = tmp_path / "deep" / "lock"
    with python(HOLDER, str(path)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with path.open("w") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder.kill()
        assert holder.wait() == -signal.SIGKILL
        with locked(path):
            pass


def test_a_place_that_cannot_be_written_or_locked_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(EnvironmentFault, match="reports/x.json cannot be written"):
        write_json(tmp_path / "reports" / "x.json", 1)
    with pytest.raises(EnvironmentFault, match="reports/lock cannot be locked"):
        locked(tmp_path / "reports" / "lock").__enter__()


def test_the_clone_is_found_from_any_folder_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "dataset.yaml").touch()
    (tmp_path / "data" / "deep").mkdir(parents=True)
    for inside in (tmp_path, tmp_path / "data" / "deep"):
        monkeypatch.chdir(inside)
        assert Project.here().root == tmp_path.resolve()


def test_a_path_is_shown_from_the_clone_where_it_is_inside(tmp_path: Path) -> None:
    project = Project(tmp_path / "clone")
    assert project.show(project.raw) == "data/raw/dataset.csv"
    assert project.show(tmp_path / "store") == str(tmp_path / "store")


def test_store_and_spool_are_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Project(tmp_path / "clone")
    assert usual.store == usual.root / "models" / "store"
    assert usual.spool == usual.root / "predictions.db.spool"
    monkeypatch.setenv("MLREF_STORE", str(tmp_path / "a"))
    monkeypatch.setenv("MLREF_LOG_SPOOL", str(tmp_path / "b"))
    other = Project(tmp_path / "clone")
    assert (other.store, other.spool) == ((tmp_path / "a").resolve(), (tmp_path / "b").resolve())
