"""Where things are and how they are written: paths, JSON, digests, atomic replacement.

A file is written beside its place, flushed to disk and renamed, so that a reader or a crash sees
the old content or the new one, never a part.
"""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlref.core.errors import EnvironmentFault, MlrefError


class Project:
    """The paths of one clone.

    Parameters
    ----------
    root : Path
        The folder that holds dvc.yaml, config/ and data/.
    work : Path, optional
        Another folder for data/, models/ and reports/, as `mlref learn --propose` has; else the clone.
    """

    def __init__(self, root: Path, work: Path | None = None) -> None:
        self.root = root.resolve()
        self.work = work or self.root
        config, data = self.root / "config", self.work / "data"
        models, reports = self.work / "models", self.work / "reports"
        self.contract = config / "dataset.yaml"
        self.params = config / "params.yaml"
        self.published_runs = config / "published_runs.yaml"
        self.raw = data / "raw" / "dataset.csv"
        self.validated = data / "validated" / "dataset.parquet"
        self.train = data / "split" / "train.parquet"
        self.holdout = data / "split" / "holdout.parquet"
        self.model = models / "model.skops"
        self.intervals = models / "intervals.json"
        self.bundle = models / "bundle"
        self.learned = models / "learned.jsonl"
        self.online = models / "online"
        self.store = Path(os.environ.get("MLREF_STORE", self.root / "models" / "store")).resolve()
        self.log = self.root / "predictions.db"
        self.spool = Path(os.environ.get("MLREF_LOG_SPOOL", f"{self.log}.spool")).resolve()
        self.adopted = reports / "adopt.html"
        self.validation = reports / "validation.json"
        self.data_docs = reports / "data_docs" / "index.html"
        self.profile = reports / "profile.json"
        self.tuning = reports / "tuning.json"
        self.journal = reports / "tuning.journal"
        self.plots = reports / "plots"
        self.out_of_fold = self.plots / "out_of_fold.csv"
        self.predictions = self.plots / "predictions.csv"
        self.metrics = reports / "metrics.json"
        self.summary = reports / "summary.json"
        self.gate = reports / "gate.json"
        self.monitoring = reports / "monitoring" / "index.html"
        self.label_issues = reports / "label_issues.csv"
        self.pictures = reports / "pictures"
        self.cards = reports / "cards"
        self.lock = self.root / "dvc.lock"

    @classmethod
    def here(cls) -> "Project":
        """The clone around the current folder; the current folder where there is none."""
        start = Path.cwd()
        for folder in (start, *start.parents):
            if (folder / "config" / "dataset.yaml").is_file():
                return cls(folder)
        return cls(start)

    def show(self, path: Path) -> str:
        """A path for a message: relative to the clone where it is inside."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


@contextlib.contextmanager
def replacing(path: Path, flush: bool = True) -> Iterator[Path]:
    """Yield a scratch path; at the end of the block its file or folder replaces ``path`` at once.

    Without ``flush`` a power failure may lose the content; killing the process does not.

    Raises
    ------
    EnvironmentFault
        When the disk refuses. ``path`` is then as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True
        ) as scratch:
            fresh, previous = Path(scratch) / path.name, Path(scratch) / "previous"
            yield fresh
            for file in fresh.rglob("*") if fresh.is_dir() else [fresh]:
                if flush and file.is_file():
                    with file.open("rb") as handle:
                        os.fsync(handle.fileno())
            if path.is_dir():
                path.rename(previous)
            try:
                fresh.replace(path)
            except OSError:
                if previous.is_dir():
                    previous.rename(path)
                raise
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be written", error) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file at once."""
    with replacing(path) as fresh:
        fresh.write_bytes(content)


def write_json(path: Path, value: object) -> None:
    """Replace a file by the canonical JSON of ``value``."""
    write_bytes(path, to_json(value))


def to_json(value: object, digits: int = 6) -> bytes:
    """JSON that depends on the value alone: sorted keys, floats at ``digits`` significant digits."""
    text = json.dumps(
        rounded(value, digits), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False
    )
    return f"{text}\n".encode()


def rounded(value: object, digits: int = 6) -> Any:
    """The same structure with every float at ``digits`` significant digits, NaN as null.

    Examples
    --------
    >>> rounded({"rmse": 54.123456789, "folds": [5, float("nan")]})
    {'rmse': 54.1235, 'folds': [5, None]}
    """
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): rounded(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item, digits) for item in value]
    return value


def read_json(path: Path) -> Any:
    """Read JSON that a stage has written, or say which file is missing or broken."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise MlrefError(
            f"{path} cannot be read ({error}). Run `make train` to write it."
        ) from error


def digest(content: bytes | Path) -> str:
    """SHA-256 of bytes or of a file, in hexadecimal."""
    return hashlib.sha256(
        content.read_bytes() if isinstance(content, Path) else content
    ).hexdigest()


@contextlib.contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[int]:
    """Hold a lock file while the block runs; other processes wait. A crash releases the lock.

    Without ``wait`` a second process gets a BlockingIOError. The block receives the file descriptor: a
    child process that inherits it keeps the lock until both have ended.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("w")
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be locked", error) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield handle.fileno()
