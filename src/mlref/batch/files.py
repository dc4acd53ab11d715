"""Find the input files, and put outputs in place: local paths and URLs that fsspec knows."""

import contextlib
import fcntl
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from mlref.core.errors import DataError, EnvironmentFault, MlrefError
from mlref.core.storage import replacing

FORMATS = (".csv", ".parquet")
MAGIC = "*?["


class Source(NamedTuple):
    """One input file.

    Parameters
    ----------
    url : str
        An absolute local path, or a URL such as ``s3://bucket/key``.
    name : str
        Its path below the folder that the user named.
    """

    url: str
    name: str

    @property
    def is_parquet(self) -> bool:
        """Whether it is Parquet rather than CSV."""
        return self.url.lower().endswith(".parquet")


class Job(NamedTuple):
    """One input file, the places of its part and its rejected rows, and the options for it.

    ``key`` is the column that names a row; ``limit`` how many rows of this file may be rejected.
    """

    source: Source
    part: str
    rejected: str
    key: str | None = None
    limit: str | None = None


@contextlib.contextmanager
def reached(url: str, name: str = "") -> Iterator[tuple[Any, str]]:
    """Give the file system of a URL and the path in it.

    Errors of storage, system and Arrow become sentences, which call the file ``name``.
    """
    try:
        fs, path = fsspec.url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise DataError(url, f"cannot be opened ({error})") from error
    try:
        yield fs, path
    except MlrefError:
        raise
    except FileNotFoundError as error:
        raise DataError(url, "there is no such file (any more)") from error
    except PermissionError as error:
        raise DataError(url, "may not be read or written (permission denied)") from error
    except Exception as error:  # a storage's client raises errors without a common root
        arrow = type(error) is OSError and error.errno is None
        if arrow or isinstance(error, (pa.ArrowException, UnicodeDecodeError)):
            raise _broken(name or url, error) from error
        if isinstance(fs, LocalFileSystem) and not isinstance(error, OSError):
            raise
        raise EnvironmentFault(f"{url} cannot be reached", error) from error


def _broken(name: str, error: Exception) -> DataError:
    """What Arrow says of a file's content."""
    said = str(error).splitlines()[0]
    if isinstance(error, UnicodeDecodeError) or "UTF8" in said:
        return not_utf8(name, "Windows-1252 or Latin-1")
    what = "a complete Parquet file" if name.lower().endswith(".parquet") else "a table"
    return DataError(name, f"is not {what} ({said})")


def not_utf8(name: str, probably: str) -> DataError:
    """The refusal of a file in another encoding."""
    problem = f"is not UTF-8 text but probably {probably}"
    return DataError(name, problem, "Save it as UTF-8 and score it again.")


def find(given: str) -> list[Source]:
    """The CSV and Parquet files that a path, a folder, a pattern or a URL names, sorted by name.

    Below the folder that was named, files and folders that begin with a dot or an underscore are
    left out.

    Raises
    ------
    DataError
        When it names nothing, or a file of another format.
    """
    with reached(given) as (fs, path):
        is_folder = fs.isdir(path)
        if is_folder:
            base, found = PurePosixPath(path), fs.find(path, detail=True)
        elif fs.isfile(path):
            base, found = PurePosixPath(path).parent, {path: {"type": "file"}}
        else:
            steps = PurePosixPath(path).parts
            fixed = itertools.takewhile(lambda step: not set(step) & set(MAGIC), steps)
            base, found = PurePosixPath(*fixed), fs.glob(path, detail=True)
        sources = []
        for name in sorted(name for name, info in found.items() if info["type"] == "file"):
            below = PurePosixPath(name).relative_to(base)
            hidden = name != path and any(step.startswith((".", "_")) for step in below.parts)
            readable = below.suffix.lower() in FORMATS
            if hidden or (is_folder and not readable):
                continue
            if not readable:
                raise DataError(given, f"{name} is no {' or '.join(FORMATS)} file")
            url = name if isinstance(fs, LocalFileSystem) else fs.unstrip_protocol(name)
            sources.append(Source(url, str(below)))
    if not sources:
        problem = "the folder has no CSV or Parquet file"
        raise DataError(given, problem if is_folder else "there is no such file or folder")
    return sources


def plan(
    sources: Sequence[Source], output: str, key: str | None = None, limit: str | None = None
) -> list[Job]:
    """The part and the file of rejected rows that each input becomes.

    An output that ends in ``.parquet`` is one file. Any other is a folder, in which ``a/b.csv``
    becomes ``a-b.parquet``; beside it the folder ``OUTPUT.rejected`` takes the rejected rows.

    Raises
    ------
    DataError
        When several inputs would become one part.
    """
    place = absolute(output)
    if output.lower().endswith(".csv"):
        raise DataError(output, "the output is Parquet", "Name a file .parquet, or a folder.")
    if is_file(output):
        if len(sources) > 1:
            problem = f"one file cannot take {len(sources)} inputs"
            raise DataError(output, problem, "Name a folder: each becomes a part in it.")
        return [Job(sources[0], place, f"{place}.rejected", key, limit)]
    jobs: dict[str, Job] = {}
    for source in sources:
        name = str(PurePosixPath(source.name).with_suffix("")).replace("/", "-")
        if name in jobs:
            problem = f"{jobs[name].source.url} and {source.url} would both become {name}.parquet"
            raise DataError(output, problem, "Rename one, or score them into two folders.")
        jobs[name] = Job(source, f"{place}/{name}.parquet", f"{place}.rejected/{name}.csv", key)
    return list(jobs.values())


def absolute(output: str) -> str:
    """An output as every worker understands it: an absolute path, or a URL."""
    output = output.removeprefix("file://")
    return output.rstrip("/") if "://" in output else str(Path(output).absolute())


def is_file(output: str) -> bool:
    """Whether an output is to be a file rather than a folder."""
    return output.lower().endswith(".parquet")


@contextlib.contextmanager
def publishing(url: str) -> Iterator[Path]:
    """Give a local path to write to; its content appears under ``url`` at once, at the end."""
    if "://" not in url:
        with replacing(Path(url), flush=False) as fresh:
            yield fresh
        return
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / PurePosixPath(url).name
        yield fresh
        with reached(url) as (fs, path):
            fs.put_file(str(fresh), path)


@contextlib.contextmanager
def claimed(place: str) -> Iterator[None]:
    """Keep other runs out of an output that is a local folder; a crash releases it."""
    if "://" in place or is_file(place):
        yield
        return
    with reached(place):
        if Path(place).is_file():
            remedy = "A folder of parts needs another name, a single file the end .parquet."
            raise DataError(place, "is a file", remedy)
        Path(place).mkdir(parents=True, exist_ok=True)
        handle = os.open(place, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            remedy = "Wait for its end; then `--resume` does what is missing."
            raise DataError(place, "another run is writing into it", remedy) from error
        yield
    finally:
        os.close(handle)


def remove(url: str) -> None:
    """Remove a file or a folder; nothing where there is none."""
    with reached(url) as (fs, path):
        if fs.exists(path):
            fs.rm(path, recursive=True)


def sweep(jobs: Sequence[Job]) -> None:
    """Remove what killed runs and workers have left half-written beside its place."""
    targets = {Path(url) for job in jobs for url in (job.part, job.rejected) if "://" not in url}
    for folder in {target.parent for target in targets}:
        for left in folder.glob(".*"):  # storage.replacing names it: a dot, the file, a random end
            if folder / left.stem[1:] in targets:
                shutil.rmtree(left, ignore_errors=True)
