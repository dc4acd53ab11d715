"""The rows that were not scored: one line of CSV for each bad cell."""

import contextlib
import csv
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mlref.batch.bounds import Batch
from mlref.batch.counts import Counts
from mlref.batch.files import Job, publishing
from mlref.batch.read import opened
from mlref.core.contract import Column
from mlref.core.errors import Violation
from mlref.core.rows import Cells, Mask, show

HEADER = ("file", "row", "column", "value", "reason")

UNIQUE = "a name that no row before it in this file has"

DECIMAL_COMMA = re.compile(r"'[+-]?\d+,\d+'")
"""A number of a country that writes 1,5 for 1.5, as a message shows it."""


class Rejected:
    """Writes and counts the rejected rows of a job.

    The file is there only when there are any; it appears when ``stack`` is closed without an error.
    """

    def __init__(self, job: Job, counts: Counts, stack: contextlib.ExitStack) -> None:
        self.job, self.counts, self.stack = job, counts, stack

    def take(
        self, batch: Batch, features: Sequence[Column], given: Mapping[str, Cells], refused: Mask
    ) -> None:
        """Write the records of a batch that are no rows, and its rows that are refused."""
        key = self.job.key
        found: list[tuple[list[Violation], object]] = [([one], None) for one in batch.ragged]
        for row in np.flatnonzero(refused.any(axis=1)).tolist():
            place, name = int(batch.places[row]), key and batch.rows[key][row].as_py()
            wrong = [
                Violation(place, one.name, show(given[one.name][row]), one.accepts)
                for one, is_bad in zip(features, refused[row], strict=False)
                if is_bad
            ]
            unnamed = [Violation(place, key, show(name), UNIQUE)] * bool(refused[row, -1])
            found.append((wrong + unnamed, name))
        for violations, name in sorted(found, key=lambda one: one[0][0].row or 0):
            self._add(violations, name)

    def _add(self, violations: Sequence[Violation], name: object = None) -> None:
        """Write a row, one line for each thing that is wrong with it."""
        self.counts.rows["rejected"] += 1
        for one in violations:
            reason = f"{one.column or 'record'}: {one.allowed}"
            self.counts.reasons[reason] += 1
            self.counts.examples.setdefault(reason, one.got)
            comma = one.column is not None and DECIMAL_COMMA.fullmatch(one.got)
            hint = "; decimals take a point" if comma else ""
            allowed = f"allowed: {one.allowed}{hint}"
            self._write(self.job.source.name, one.row, one.column, one.got, allowed, name)

    def _write(self, *line: object) -> None:
        self._writer.writerow(map(harmless, line if self.job.key is not None else line[:-1]))

    @functools.cached_property
    def _writer(self) -> Any:
        fresh = self.stack.enter_context(publishing(self.job.rejected))
        file = self.stack.enter_context(fresh.open("w", encoding="utf-8", newline=""))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*HEADER, *([] if self.job.key is None else [harmless(self.job.key)])])
        return writer


def harmless(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula; numbers stay.

    Examples
    --------
    >>> harmless("=1+1"), harmless("-1.5"), harmless("-1+1")
    ("'=1+1", '-1.5', "'-1+1")
    """
    if not isinstance(cell, str) or not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return cell
    with contextlib.suppress(ValueError):
        float(cell)
        return cell
    return f"'{cell}"


def repeated(job: Job) -> Mask:
    """The rows, by their place in the file, that have no name or that of an earlier row.

    Empty where no column names a row. It reads that column alone, before the file is scored, and needs
    memory for its values.
    """
    if job.key is None:
        return np.empty(0, bool)
    with opened(job.source, job.key) as table:
        kind = table.schema.field(job.key).type
        batches = [(batch.rows[job.key], batch.places) for batch in table.batches]
    names = pa.chunked_array([names for names, _ in batches], kind)
    places = np.concatenate([np.empty(0, np.int64), *(places for _, places in batches)])
    rows = pa.table({"name": names, "place": places}).unify_dictionaries()
    first = rows.group_by("name", use_threads=False).aggregate([("place", "min")])
    bad = np.ones(places.max(initial=-1) + 1, bool)
    bad[first["place_min"].to_numpy()] = False
    bad[places[names.is_null().to_numpy()]] = True
    return bad
