"""Find the input files, and put outputs in place: local paths and URLs that fsspec knows."""

import contextlib
import re
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


class Job(NamedTuple):
    """One input file, the places of its part and its rejected rows, and how its rows are named.

    Parameters
    ----------
    url : str
        The input: an absolute local path, or a URL such as ``s3://bucket/key``.
    name : str
        Its path below the folder that the user named.
    part, rejected : str
        Where its results go, as ``url``.
    key : str or None
        The column that names a row.
    """

    url: str
    name: str
    part: str
    rejected: str
    key: str | None = None


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
    except Exception as error:  # a storage's client raises errors without a common root
        content = (pa.ArrowException, UnicodeDecodeError)
        if not isinstance(error, content) and (type(error) is not OSError or error.errno):
            raise EnvironmentFault(f"{url} cannot be reached", error) from error
        said = str(error).splitlines()[0]
        problem, remedy = f"is not a complete table ({said})", ""
        if "utf" in said.lower():
            has_mark = re.search("0xf[ef] in position 0", said)
            encoding = "UTF-16" if has_mark else "Windows-1252 or Latin-1"
            problem = f"is not UTF-8 text but probably {encoding}"
            remedy = "Save it as UTF-8 and score it again."
        raise DataError(name, problem, remedy) from error


def find(given: str) -> list[tuple[str, str]]:
    """List the CSV and Parquet files that a path, folder, pattern or URL names: URL and name, sorted.

    The name of a file is its path below the folder, or below the part of a pattern before its first
    wildcard. Files and folders there that begin with a dot or an underscore are left out.

    Raises
    ------
    DataError
        When nothing is found.
    """
    with reached(given) as (fs, path):
        before = re.split(r"[*?[]", path)[0]
        base = PurePosixPath(path) if fs.isdir(path) else PurePosixPath(f"{before}_").parent
        found = fs.find(path) or [file for one in fs.glob(path) for file in fs.find(one)]
        sources = []
        for file in sorted(found):
            name = PurePosixPath(file).relative_to(base)
            is_hidden = file != path and any(step.startswith((".", "_")) for step in name.parts)
            if name.suffix.lower() in (".csv", ".parquet") and not is_hidden:
                url = file if isinstance(fs, LocalFileSystem) else fs.unstrip_protocol(file)
                sources.append((url, str(name)))
    if not sources:
        raise DataError(given, "there is no such CSV or Parquet file, or folder of them")
    return sources


def plan(inputs: Sequence[str], place: str, key: str | None = None) -> list[Job]:
    """What becomes of each input file: ``a/b.csv`` becomes PLACE/a-b.parquet.

    Raises
    ------
    DataError
        When several inputs would become one part.
    """
    jobs: dict[str, Job] = {}
    for url, name in (source for given in inputs for source in find(given)):
        flat = str(PurePosixPath(name).with_suffix("")).replace("/", "-")
        if flat in jobs:
            problem = f"{jobs[flat].url} and {url} would both become {flat}.parquet"
            raise DataError(place, problem, "Rename one, or score them into two folders.")
        part, rejected = f"{place}/{flat}.parquet", f"{place}.rejected/{flat}.csv"
        jobs[flat] = Job(url, name, part, rejected, key)
    return list(jobs.values())


def absolute(output: str) -> str:
    """An output as every worker understands it: an absolute path, or a URL."""
    output = output.removeprefix("file://").rstrip("/")
    return output if "://" in output else str(Path(output).absolute())


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


def remove(url: str) -> None:
    """Remove a file or a folder; nothing where there is none."""
    with reached(url) as (fs, path):
        if fs.exists(path):
            fs.rm(path, recursive=True)


def sweep(place: str) -> None:
    """Remove what killed runs and workers have left half-written in a local output."""
    if "://" not in place:  # core.storage.replacing names it: a dot, the file, a random end
        parts, rejected = Path(place), Path(f"{place}.rejected")
        for left in (*parts.glob(".*.parquet.*"), *rejected.glob(".*.csv.*")):
            shutil.rmtree(left, ignore_errors=True)
