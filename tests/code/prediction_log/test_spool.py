"""The spool: rows outlive the process and the disk's refusals; what is no row is kept aside."""

import fcntl
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlref.core.errors import EnvironmentFault
from mlref.prediction_log.encode import Batch, encode
from mlref.prediction_log.spool import Spool, lines
from tests.code.prediction_log.records import predicted, refused

CODE = """
import sys
from pathlib import Path
from mlref.prediction_log.encode import encode
from mlref.prediction_log.spool import Spool
from tests.code.prediction_log.records import predicted
spool = Spool(Path(sys.argv[1]))
spool.append(encode([predicted(ids=[sys.argv[2]])]))
print("spooled", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """An empty spool."""
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.seal()


@pytest.fixture
def full_disk() -> Iterator[None]:
    """A disk that takes no byte beyond the first 2,000 of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def read(spool: Spool) -> list[Batch]:
    """What its files hold."""
    spool.seal()
    return [spool.read(path).batch for path in spool.files()]


def names(spool: Spool) -> list[str]:
    """The ends of its files."""
    return sorted(path.suffix or path.name[:1] for path in spool.folder.iterdir())


def test_rows_come_back_as_they_were(spool: Spool) -> None:
    """In one file, of every table."""
    record = predicted(2, subjects=["naïve 患者", "' OR 1=1 --\n\r\x0b\u2028"])
    first, second = encode([record]), encode([predicted(), refused("area")])
    spool.append(first)
    spool.append(second)
    [found] = read(spool)
    assert found == {
        "predictions": [*first["predictions"], *second["predictions"]],
        "refusals": second["refusals"],
    }


def test_a_growing_file_is_a_part_and_a_flushed_one_is_whole(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on the disk before it has its name."""
    flushed: list[list[str]] = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(names(spool)))
    spool.append(encode([predicted()]))
    assert (names(spool), flushed) == ([".part"], [])
    spool.seal()
    assert (names(spool), flushed) == ([".jsonl"], [[".part"]])


def test_a_long_file_is_followed_by_another(tmp_path: Path) -> None:
    """So that each can be replayed at once."""
    spool = Spool(tmp_path, rows=3)
    for _ in range(4):
        spool.append(encode([predicted(2)]))
    assert [len(batch["predictions"]) for batch in read(spool)] == [4, 4]


def test_files_are_read_in_the_order_in_which_they_were_begun(tmp_path: Path) -> None:
    """The oldest first."""
    spool = Spool(tmp_path, rows=1)
    batches = [encode([predicted()]) for _ in range(5)]
    for batch in batches:
        spool.append(batch)
    assert read(spool) == batches


def test_the_file_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    """And that of a killed one is taken over."""
    command = [sys.executable, "-c", CODE, str(tmp_path), *predicted().ids]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "spooled\n"
        spool = Spool(tmp_path)
        assert read(spool) == []
        process.kill()
    assert [len(batch["predictions"]) for batch in read(spool)] == [1]


def test_a_file_is_held_before_it_can_be_seen(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another process would take it for that of a killed one."""
    seen: list[list[str]] = []
    lock = fcntl.flock
    monkeypatch.setattr(
        "mlref.prediction_log.spool.fcntl.flock",
        lambda file, how: (seen.append(names(spool)), lock(file, how)),
    )
    spool.append(encode([predicted()]))
    assert seen == [["."]] and names(spool) == [".part"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b'{"table": "predictions"}',
        b'{"table": "sqlite_master", "name": "x"}',
        b'{"table": ["predictions"]}',
        "without a column",
        "with another column",
        "with an object in a cell",
        "with text for a number",
        "with true for a number",
        "with a null too many",
        "with a moment that is none",
        "with features that are no JSON",
        "cut off",
    ],
)
def test_a_line_that_is_no_row_does_not_hide_the_others(spool: Spool, line: bytes | str) -> None:
    """It is returned as it is."""
    before, after = encode([predicted()]), encode([predicted()])
    [sound] = lines(after)
    planted = {
        "without a column": sound.replace(b'"latency":null,', b""),
        "with another column": sound.replace(b'"latency"', b'"delay"'),
        "with an object in a cell": sound.replace(b'"latency":null', b'"latency":{}'),
        "with text for a number": sound.replace(b'"value":100.0', b'"value":"100"'),
        "with true for a number": sound.replace(b'"value":100.0', b'"value":true'),
        "with a null too many": sound.replace(b'"value":100.0', b'"value":null'),
        "with a moment that is none": sound.replace(b'"at":"20', b'"at":"19th'),
        "with features that are no JSON": sound.replace(b'"features":"{', b'"features":"'),
        "cut off": sound[:-20],
    }
    bad = planted[line] if isinstance(line, str) else line
    assert bad != sound
    path = spool.folder / "x.jsonl"
    path.write_bytes(b"\n".join([*lines(before), bad, *lines(after)]))
    found = spool.read(path)
    assert found.corrupt == [bad]
    assert found.batch == {"predictions": before["predictions"] + after["predictions"]}


def test_a_full_disk_is_told_and_leaves_no_half_of_a_batch(spool: Spool, full_disk: None) -> None:
    """What was there before stays, and what comes later is written behind it."""
    small = encode([predicted()])
    spool.append(small)
    with pytest.raises(EnvironmentFault, match=r"\.part cannot be written: File too large\.$"):
        spool.append(encode([predicted(20)]))
    spool.append(encode([predicted()]))
    [found] = read(spool)
    assert len(found["predictions"]) == 2 and found["predictions"][0] == small["predictions"][0]


def test_a_file_that_cannot_be_flushed_is_told_and_read_all_the_same(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be whole; what of it is not, will be found."""
    batch = encode([predicted()])
    spool.append(batch)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: os.close(-1))
        with pytest.raises(EnvironmentFault, match="part cannot be written: Bad file descriptor"):
            spool.seal()
    spool.append(encode([predicted()]))
    assert len(read(spool)) == 2 and read(spool)[0] == batch


def test_a_folder_that_may_not_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, not when the database is away."""
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may do all
    with pytest.raises(EnvironmentFault, match="written: Permission denied. Let MLREF_LOG_SPOOL"):
        Spool(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """At once, with what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault) as fault:
        Spool(tmp_path / "file" / "spool")
    assert str(fault.value) == (
        f"{tmp_path}/file/spool cannot be written: Not a directory. Let MLREF_LOG_SPOOL name a folder"
        " where rows may wait for the database."
    )


def test_what_cannot_be_written_is_kept_for_people(spool: Spool) -> None:
    """Under the name of its file; doing it again changes nothing."""
    for _ in range(2):
        path = spool.set_aside("x", [b"one", b"two"])
    assert path.read_bytes() == b"one\ntwo\n" and names(spool) == [".corrupt"]
    assert spool.files() == []
