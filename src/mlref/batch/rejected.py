"""The rows that were not scored: written down one bad cell a line, and counted by reason."""

import contextlib
import csv
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlref.batch.cells import mask
from mlref.batch.counts import Counts
from mlref.batch.files import Job, publishing
from mlref.batch.read import opened
from mlref.core.errors import DataError, Violation
from mlref.core.rows import Mask

HEADER = ("file", "row", "column", "value", "reason")


class Rejected:
    """Writes the file of rejected rows, which is there only when there are any."""

    def __init__(self, job: Job, counts: Counts, stack: contextlib.ExitStack) -> None:
        self.job, self.counts, self.stack = job, counts, stack
        self.writer: Any = None

    def add(self, violations: Sequence[Violation], key: object = None) -> None:
        """Note a row, one line for each thing that is wrong with it."""
        if self.writer is None:
            self.writer = self._open()
        self.counts.rejected += 1
        for one in violations:
            self.counts.reasons[f"{one.column or 'record'}: {one.allowed}"] += 1
            reason = f"allowed: {one.allowed}"
            line = [self.job.source.name, one.row, one.column, one.got, reason]
            self.writer.writerow(line if self.job.key is None else [*line, key])

    def take(self, records: list[Violation]) -> None:
        """Note records that are no rows, and take them off the list."""
        for one in records:
            self.add([one])
        records.clear()

    def _open(self) -> Any:
        fresh = self.stack.enter_context(publishing(self.job.rejected))
        file = self.stack.enter_context(fresh.open("w", encoding="utf-8", newline=""))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER if self.job.key is None else [*HEADER, self.job.key])
        return writer


@contextlib.contextmanager
def rejecting(job: Job, counts: Counts) -> Iterator[Rejected]:
    """Give a place for rejected rows; what was noted appears at once, at the end."""
    with contextlib.ExitStack() as stack:
        yield Rejected(job, counts, stack)


class Keys:
    """The column that names a row: never null, and of rows with one name only the first is taken.

    The names that are there twice are found before the file is scored, by reading that column alone;
    it needs memory for the different names of one file.
    """

    allowed = "a name that no row before it in this file has"

    def __init__(self, job: Job) -> None:
        self.name, self.seen = job.key, set[object]()
        self.twice = pa.nulls(0)
        if self.name is None:
            return
        with opened(job.source) as table:
            if self.name not in table.schema.names:
                have = ", ".join(table.schema.names)
                raise DataError(job.source.name, f"has no column {self.name!r}; it has: {have}")
            kind = table.schema.field(self.name).type
            if pa.types.is_nested(kind):
                raise DataError(job.source.name, f"the column {self.name!r} cannot name a row")
            names = [batch.rows.column(0) for batch in table.batches([self.name])]
        counted = pc.value_counts(pa.chunked_array(names, kind))
        self.twice = counted.field("values").filter(pc.greater(counted.field("counts"), 1))

    def of(self, rows: pa.RecordBatch, row: int) -> object:
        """The name of a row; None where no column names it."""
        return None if self.name is None else rows.column(self.name)[row].as_py()

    def bad(self, rows: pa.RecordBatch) -> Mask:
        """Rows without a name, or with that of an earlier one."""
        if self.name is None:
            return np.zeros(rows.num_rows, bool)
        names = rows.column(self.name)
        bad = mask(names.is_null())
        if len(self.twice):
            again = mask(pc.is_in(names, value_set=self.twice))
            for row in np.flatnonzero(again & ~bad).tolist():
                name = names[row].as_py()
                bad[row] = name in self.seen
                self.seen.add(name)
        return bad
