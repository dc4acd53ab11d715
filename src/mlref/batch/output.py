"""The output as a whole: refused where it is there, gone on with when asked, complete or not.

A part is there whole or not at all, and says in its metadata which model made it and what became of
its rows. So a killed run needs no journal.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from mlref.batch.counts import Counts
from mlref.batch.files import Job, publishing, reached, remove
from mlref.batch.score import META, Scored
from mlref.core.errors import DataError
from mlref.core.storage import to_json

SUCCESS = "_SUCCESS"
"""The file of a complete output; it is written last."""


def begin(
    place: str, jobs: Sequence[Job], model: dict[str, str], overwrite: bool, resume: bool
) -> dict[Job, Scored]:
    """Look at what is there; the parts that this model made from inputs that have not changed since.

    Raises
    ------
    DataError
        When something is there and neither ``overwrite`` nor ``resume`` is asked for, or when it holds
        other files.
    """
    there = _names(place)
    if there and not (overwrite or resume):
        remedy = "`--overwrite` replaces it, `--resume` goes on with what is missing."
        raise DataError(place, "is there already", remedy)
    made = {f"{place}/{name}": _footer(f"{place}/{name}") for name in there if name != SUCCESS}
    if not resume:
        for part in (f"{place}/{SUCCESS}", *made, f"{place}.rejected"):
            remove(part)
        return {}
    if strange := made.keys() - {job.part for job in jobs}:
        raise DataError(min(strange), "nothing of this input becomes it", "Name another output.")
    kept = {
        job: said
        for job in jobs
        if (said := made.get(job.part))
        and said["model"] == model
        and _modified(job.url) <= _modified(job.part)
    }
    if len(kept) < len(jobs):
        remove(f"{place}/{SUCCESS}")
    return kept


def finish(place: str, parts: Mapping[Job, Scored], model: dict[str, str], counts: Counts) -> None:
    """Declare the output complete; where it is so already, nothing changes."""
    if SUCCESS in _names(place):
        return
    content = {
        "model": model,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **counts,
        "parts": {PurePosixPath(job.part).name: part for job, part in parts.items()},
    }
    with publishing(f"{place}/{SUCCESS}") as fresh:
        fresh.write_bytes(to_json(content))


def _names(place: str) -> list[str]:
    """Names of what is in a folder; none where there is no folder."""
    with reached(place) as (fs, path):
        found = fs.ls(path, detail=False) if fs.isdir(path) else []
        names = {PurePosixPath(one).name for one in found if one.rstrip("/") != path}
    return sorted(name for name in names if not name.startswith("."))


def _footer(part: str) -> Scored:
    """What a part says of itself; nothing where it is broken.

    Raises
    ------
    DataError
        For a file that is not a part.
    """
    said = None
    if part.endswith(".parquet"):
        with reached(part) as (fs, path):
            try:
                said = (pq.read_metadata(path, filesystem=fs).metadata or {}).get(META)
            except pa.ArrowInvalid:
                said = b"{}"
    if said is None:
        raise DataError(part, "was not written by `mlref score`", "Name another output.")
    return dict(json.loads(said))


def _modified(url: str) -> datetime:
    with reached(url) as (fs, path):
        return fs.modified(path)
