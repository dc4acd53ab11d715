"""The output as a whole: refused where it is there, gone on with when asked, complete or not.

A part is there whole or not at all, and says in its metadata which model made it and what became of
its rows. So a killed run needs no journal.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlref.batch.counts import Counts
from mlref.batch.files import Job, absolute, is_file, publishing, reached, remove
from mlref.batch.score import META, LoadedModel, Scored
from mlref.core.errors import DataError
from mlref.core.storage import to_json

SUCCESS = "_SUCCESS"
"""The file of a complete folder; it is written last."""


class Output:
    """One output, a file or a folder.

    Parameters
    ----------
    given : str
        As the user named it.
    jobs : sequence of Job
        What it is made from.
    model : LoadedModel
        What makes it.
    """

    def __init__(self, given: str, jobs: Sequence[Job], model: LoadedModel) -> None:
        self.given, self.model = given, model
        self.jobs = {PurePosixPath(job.part).name: job for job in jobs}
        self.place, self.single = absolute(given), is_file(given)

    def begin(self, overwrite: bool, resume: bool) -> dict[Job, Scored]:
        """Look at what is there, and give the parts that need not be made again.

        Raises
        ------
        DataError
            When something is there and neither ``overwrite`` nor ``resume`` is asked for, when a folder
            holds other files, or when another model made what is there.
        """
        there = self._there()
        if there and not (overwrite or resume):
            remedy = "`--overwrite` replaces it, `--resume` goes on with what is missing."
            raise DataError(self.given, "is there already", remedy)
        if there and resume:
            return self._finished(there)
        if not self.single:  # a file is replaced at once when its successor is finished
            for name in there:
                if name != SUCCESS:
                    _footer(f"{self.place}/{name}")
            self.clear(there)
            remove(f"{self.place}.rejected")
        return {}

    def clear(self, names: Sequence[str] | None = None) -> None:
        """Remove parts, all by default, and the sign that they are complete first."""
        for name in [SUCCESS, *(self.jobs if names is None else names)]:
            remove(f"{self.place}/{name}")

    def finish(self, parts: Mapping[Job, Scored], counts: Counts) -> None:
        """Declare a folder complete; where it is so already, nothing changes."""
        if self.single or SUCCESS in self._there():
            return
        content = {
            "model": self.model.identity,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "rows": counts.rows,
            "warnings": counts.warnings,
            "reasons": counts.reasons,
            "parts": {
                name: {
                    "input": job.source.name,
                    "rows": parts[job].counts.rows["scored"],
                    "predictions": parts[job].digest,
                }
                for name, job in self.jobs.items()
            },
        }
        with publishing(f"{self.place}/{SUCCESS}") as fresh:
            fresh.write_bytes(to_json(content))

    def _there(self) -> list[str]:
        """Names of what is there; for an output that is a file, its own."""
        with reached(self.place) as (fs, path):
            if self.single:
                return [PurePosixPath(path).name] if fs.exists(path) else []
            found = fs.ls(path, detail=False) if fs.isdir(path) else []
            names = {PurePosixPath(one).name for one in found if one.rstrip("/") != path}
            return sorted(name for name in names if not name.startswith("."))

    def _finished(self, there: Sequence[str]) -> dict[Job, Scored]:
        """The parts that are there, made by this model from inputs that have not changed since."""
        parts = {}
        for name in there:
            if name == SUCCESS:
                continue
            if name not in self.jobs:
                problem = f"holds {name}, which nothing of this input becomes"
                raise DataError(self.given, problem, "Name another folder, or move it away.")
            job = self.jobs[name]
            said = _footer(job.part)
            if said and said["model"] != self.model.identity:
                version, digest = said["model"]["version"], said["model"]["digest"]
                raise DataError(
                    job.part,
                    f"is of version {version}, not of {self.model.version}",
                    f"`--model {digest[:12]} --resume` goes on with that one; `--overwrite` begins"
                    " anew.",
                )
            if said and _modified(job.source.url) <= _modified(job.part):
                parts[job] = Scored(Counts.sum([said["counts"]]), said["digest"])
        if len(parts) < len(self.jobs) and not self.single:
            remove(f"{self.place}/{SUCCESS}")
        return parts


def _footer(part: str) -> dict[str, Any]:
    """What a part says of itself; nothing where it is broken.

    Raises
    ------
    DataError
        For a file that is not a part.
    """
    with reached(part) as (fs, path):
        if fs.isfile(path) and path.endswith(".parquet"):
            try:
                with fs.open(path, "rb") as file:
                    said = (pq.read_metadata(file).metadata or {}).get(META)
            except pa.ArrowInvalid:
                return {}
            if said is not None:
                return dict(json.loads(said))
    raise DataError(part, "was not written by `mlref score`", "Name another output.")


def _modified(url: str) -> datetime:
    with reached(url) as (fs, path):
        return fs.modified(path)  # type: ignore[no-any-return]
