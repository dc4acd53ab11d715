"""Where rows wait while the database is away: files of JSON Lines, a row a line.

A file is ``ID.part`` while it grows and is held by a lock; then it is flushed to disk and renamed to
``ID.jsonl``. A process that was killed leaves a part that nobody holds, which the next one takes over.
"""

import contextlib
import datetime
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson
import sqlalchemy as sa

from mlref.core.errors import EnvironmentFault
from mlref.core.storage import write_bytes
from mlref.prediction_log.encode import COLUMNS, Batch, Row
from mlref.prediction_log.ids import new_ids
from mlref.prediction_log.schema import METADATA, Time

ROWS = 10_000
"""Rows after which the next file is begun."""


class Spooled(NamedTuple):
    """What a file holds.

    Parameters
    ----------
    batch : dict
        Its rows.
    corrupt : list of bytes
        The lines that are no rows.
    """

    batch: Batch
    corrupt: list[bytes]


class Spool:
    """A folder of waiting rows; several processes may share it.

    Parameters
    ----------
    folder : Path
        Made where it is not there.
    rows : int
        After so many the next file is begun.

    Raises
    ------
    EnvironmentFault
        When the folder cannot be made or written.
    """

    def __init__(self, folder: Path, rows: int = ROWS) -> None:
        self.folder, self._limit = folder, rows
        self._file: BinaryIO | None = None
        self._path, self._rows = folder, 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            remedy = "Let MLREF_LOG_SPOOL name a folder where rows may wait for the database."
            raise EnvironmentFault(f"{folder} cannot be written", error, remedy) from error

    def append(self, batch: Batch) -> None:
        """Write rows so that they outlive this process.

        Raises
        ------
        EnvironmentFault
            When the disk refuses; nothing of the batch is then in the file.
        """
        content = lines(batch)
        try:
            file = self._file or self._create()
            before = file.tell()
            try:
                view = memoryview(b"".join(line + b"\n" for line in content))
                while view:
                    view = view[file.write(view) :]
            except OSError:
                file.truncate(before)
                file.seek(before)
                raise
        except OSError as error:
            raise EnvironmentFault(f"{self._path} cannot be written", error, "") from error
        self._rows += len(content)
        if self._rows >= self._limit:
            self.seal()

    def _create(self) -> BinaryIO:
        [name] = new_ids(1)
        fresh, self._path = self.folder / f".{name}", self.folder / f"{name}.part"
        self._file = file = fresh.open("wb", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX)
        fresh.rename(self._path)  # not before it is locked: another process would take it over
        self._rows = 0
        return file

    def seal(self) -> None:
        """Flush the growing file to disk and give it its last name."""
        if (file := self._file) is None:
            return
        try:
            with file:
                os.fsync(file.fileno())
                self._path.rename(self._path.with_suffix(".jsonl"))
        except OSError as error:
            raise EnvironmentFault(f"{self._path} cannot be written", error, "") from error
        finally:
            self._file = None

    def files(self) -> list[Path]:
        """The files that can be read, oldest first; first it takes over what killed processes left."""
        for path in self.folder.glob("*.part"):
            with contextlib.suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.rename(path.with_suffix(".jsonl"))
        return sorted(self.folder.glob("*.jsonl"))

    @staticmethod
    def read(path: Path) -> Spooled:
        """Read a file; what is no row is returned as it is."""
        found = Spooled({}, [])
        for line in path.read_bytes().splitlines():
            try:
                table, row = _row(line)
            except (ValueError, KeyError):
                found.corrupt.append(line)
            else:
                found.batch.setdefault(table, []).append(row)
        return found

    def set_aside(self, name: str, unfit: Sequence[bytes]) -> Path:
        """Keep lines that cannot be written, for people; returns where."""
        path = self.folder / f"{name}.corrupt"
        write_bytes(path, b"".join(line + b"\n" for line in unfit))
        return path


def lines(batch: Batch) -> list[bytes]:
    """The rows as lines of JSON, without their ends.

    A row carries the names of its columns, which a later version may have in another order.
    """
    return [
        orjson.dumps({"table": table, **dict(zip(COLUMNS[table], row, strict=True))})
        for table, rows in batch.items()
        for row in rows
    ]


def _row(line: bytes) -> tuple[str, Row]:
    fields = orjson.loads(line)
    table = fields.pop("table") if isinstance(fields, dict) else None
    if not isinstance(table, str) or fields.keys() != {*COLUMNS[table]}:
        raise ValueError("not the columns of a table")
    for column in METADATA.tables[table].columns:
        _check(column, fields[column.name])
    return table, tuple(fields[name] for name in COLUMNS[table])


def _check(column: sa.Column[Any], value: object) -> None:
    """Refuse a value that is not of its column's type; SQLite would take it."""
    if isinstance(column.type, sa.Double | sa.Integer):
        fits = isinstance(value, float | int) and not isinstance(value, bool)
    else:
        fits = isinstance(value, str)
        if fits and isinstance(column.type, sa.JSON):
            orjson.loads(str(value))
        elif fits and isinstance(column.type, Time):
            datetime.datetime.fromisoformat(str(value))
    if not fits and not (value is None and column.nullable):
        raise ValueError(f"not a value of {column.name}")
