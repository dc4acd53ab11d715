"""The rows that are not scored: one line of CSV for each bad cell."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mlref.batch.counts import Counts
from mlref.batch.files import Job
from mlref.batch.read import Places
from mlref.core.errors import Violation
from mlref.core.rows import Cells, Mask, show

HEADER = ("file", "row", "column", "value", "reason")

UNIQUE = "a name that no row before it in this file has"

Wrong = tuple[Violation, object]
"""A bad cell or record, and the row's name where a column has one."""

Checked = tuple[str | None, str, Cells]
"""A column: its name, what it accepts, and its cells."""

DECIMAL_COMMA = re.compile(r"'[+-]?\d+,\d+'")
"""A number of a country that writes 1,5 for 1.5, as a message shows it."""

FORMULA = re.compile(r"[=@\t\r\n]|[+-](?!(inf|[\d.]+(e[+-]?\d+)?)$)")
"""How a cell begins that a spreadsheet takes for a formula: not as a number does."""


def repeated(names: Sequence[object], seen: set[object]) -> Mask:
    """The rows that have no name, or one that was seen; the others' names are seen from now on."""
    bad = np.zeros(len(names), bool)
    for row, name in enumerate(names):
        bad[row] = name is None or name in seen
        seen.add(name)
    return bad


def explain(
    columns: Sequence[Checked], refused: Mask, places: Places, names: Sequence[object]
) -> Iterator[Wrong]:
    """Put into words what is wrong with the rows of a batch; ``refused`` has a column for each checked."""
    for row, at in np.argwhere(refused).tolist():
        column, allowed, cells = columns[at]
        got = show(cells[row])
        hint = "; decimals take a point" if DECIMAL_COMMA.fullmatch(got) else ""
        violation = Violation(int(places[row]), column, got, allowed + hint)
        yield violation, names[row] if names else None


def write(path: Path, job: Job, wrong: Iterable[Wrong], counts: Counts) -> None:
    """Count and append lines to a CSV file, and put a header before the first one."""
    head, rows = [*HEADER, *([] if job.key is None else [job.key])], set()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not file.tell():
            writer.writerow(map(harmless, head))
        for one, name in wrong:
            reason = f"{one.column or 'record'}: {one.allowed}"
            counts["reasons"][reason] += 1
            counts["examples"].setdefault(reason, one.got)
            rows.add(one.row)
            line = (job.name, one.row, one.column, one.got, f"allowed: {one.allowed}", name)
            writer.writerow(map(harmless, line[: len(head)]))
    counts["rows"]["rejected"] += len(rows)


def harmless(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula; numbers stay.

    Examples
    --------
    >>> harmless("=1+1"), harmless("-1.5"), harmless("-1+1")
    ("'=1+1", '-1.5', "'-1+1")
    """
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell
