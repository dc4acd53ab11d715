"""Where batch scoring reads and writes: local paths and fsspec URLs, and what becomes of each file."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import fsspec
from fsspec.implementations.local import LocalFileSystem

from mlref.batch.counts import Limit
from mlref.core.errors import DataError, EnvironmentFault, MlrefError
from mlref.core.storage import replacing

FORMATS = (".csv", ".parquet")


class Source(NamedTuple):
    """One input file.

    Parameters
    ----------
    url : str
        An absolute local path, or a URL such as ``s3://bucket/key``.
    name : str
        How the user named it, or where it lies below the folder that the user named.
    size : int
        Its length in bytes.
    """

    url: str
    name: str
    size: int


class Job(NamedTuple):
    """One input file and what is made of it.

    Parameters
    ----------
    source : Source
        What is read.
    part, rejected : str
        Where the scored and the rejected rows go.
    key : str, optional
        The column that names a row.
    limit : Limit, optional
        How many rows of this file may be rejected; None where the run as a whole is judged.
    """

    source: Source
    part: str
    rejected: str
    key: str | None = None
    limit: Limit | None = None


def filesystem(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises
    ------
    DataError
        For a protocol that fsspec does not know, or whose package is not installed.
    """
    try:
        fs, path = fsspec.url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise DataError(url, f"cannot be opened ({error})") from error
    return fs, path


@contextlib.contextmanager
def reached(url: str) -> Iterator[tuple[Any, str]]:
    """The file system of a URL and the path in it; its faults become sentences."""
    fs, path = filesystem(url)
    try:
        yield fs, path
    except (MlrefError, GeneratorExit):
        raise
    except FileNotFoundError as error:
        raise DataError(url, "there is no such file (any more)") from error
    except PermissionError as error:
        raise DataError(url, "may not be read or written (permission denied)") from error
    except OSError as error:
        raise EnvironmentFault(f"{url} cannot be reached", error) from error
    except Exception as error:  # those of a storage's client have no common root
        if isinstance(fs, LocalFileSystem):
            raise
        raise EnvironmentFault(f"{url} cannot be reached", error) from error


def find(given: str) -> list[Source]:
    """The files that a path, a folder, a pattern or a URL names, in the order of their names.

    In a folder these are the CSV and Parquet files at any depth; names that begin with a dot or an
    underscore are left out, as they are everywhere in this trade.

    Raises
    ------
    DataError
        When it names nothing, or a file of another format.
    """
    with reached(given) as (fs, path):
        folder = path.rstrip("/") if fs.isdir(path) else str(PurePosixPath(path).parent)
        if fs.isfile(path):
            found = {path: fs.info(path)}
        elif fs.isdir(path):
            found = fs.find(path, detail=True)
            found = {name: info for name, info in found.items() if _is_data(_below(name, folder))}
            if not found:
                raise DataError(given, "the folder has no CSV or Parquet file")
        else:
            found = fs.glob(path, detail=True) if any(sign in path for sign in "*?[") else {}
            found = {name: info for name, info in found.items() if _is_seen(info, name)}
        if not found:
            raise DataError(given, "there is no such file or folder")
        for name in found:
            if PurePosixPath(name).suffix.lower() not in FORMATS:
                raise DataError(given, f"{name} is no {' or '.join(FORMATS)} file")
        local, deep = isinstance(fs, LocalFileSystem), fs.isdir(path)
        return [
            Source(
                name if local else fs.unstrip_protocol(name),
                _below(name, folder) if deep else PurePosixPath(name).name,
                int(info["size"]),
            )
            for name, info in sorted(found.items())
        ]


def _is_data(name: str) -> bool:
    hidden = any(step.startswith((".", "_")) for step in PurePosixPath(name).parts)
    return not hidden and PurePosixPath(name).suffix.lower() in FORMATS


def _is_seen(info: Mapping[str, Any], name: str) -> bool:
    return info["type"] == "file" and not PurePosixPath(name).name.startswith((".", "_"))


def _below(name: str, folder: str) -> str:
    return name.removeprefix(folder.rstrip("/") + "/")


def plan(
    sources: Sequence[Source], output: str, key: str | None = None, limit: Limit | None = None
) -> list[Job]:
    """What is made of each input.

    An output that ends in ``.parquet`` is one file. Any other is a folder, in which a file ``a/b.csv``
    of the input becomes ``a-b.parquet``; beside it a folder ``OUTPUT.rejected`` takes the rejected rows.

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
        part, rejected = f"{place}/{name}.parquet", f"{place}.rejected/{name}.csv"
        jobs[name] = Job(source, part, rejected, key)
    return list(jobs.values())


def absolute(output: str) -> str:
    """An output as every worker understands it: an absolute path, or a URL."""
    return output.rstrip("/") if "://" in output else str(Path(output).absolute())


def is_file(output: str) -> bool:
    """Whether an output is to be a file rather than a folder."""
    return output.lower().endswith(".parquet")


@contextlib.contextmanager
def publishing(url: str) -> Iterator[Path]:
    """Give a local path to write to; its content appears under ``url`` at once, at the end."""
    fs, path = filesystem(url)
    if isinstance(fs, LocalFileSystem):
        with replacing(Path(path), flush=False) as fresh:
            yield fresh
        return
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / PurePosixPath(path).name
        yield fresh
        with reached(url):
            fs.put_file(str(fresh), path)


def remove(url: str) -> None:
    """Remove a file or a folder; nothing where there is none."""
    with reached(url) as (fs, path):
        if fs.exists(path):
            fs.rm(path, recursive=True)


def sweep(jobs: Sequence[Job]) -> None:
    """Remove what killed runs, or killed workers of this one, have left half-written beside its place."""
    targets = [Path(url) for job in jobs for url in (job.part, job.rejected) if "://" not in url]
    names = {target.name for target in targets}
    for folder in {target.parent for target in targets}:
        for left in folder.glob(".*"):  # named by storage.replacing: a dot, the file, a random end
            if left.name[1:].rpartition(".")[0] in names:
                shutil.rmtree(left, ignore_errors=True)
