"""Counts of rows, and the limit on rejected ones."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mlref.core.errors import SHOWN, MlrefError, NotPublished

Counts = dict[str, dict[str, Any]]
"""What became of the rows, as JSON can hold it.

``rows`` are the numbers of rows ``read``, ``scored``, ``warned`` and ``rejected``; ``warnings`` the unusual
cells of the scored rows by column; ``reasons`` the bad cells by column and reason, of which a rejected row
may have several; ``examples`` a bad cell for each reason.
"""


def total(counts: Iterable[Counts] = ()) -> Counts:
    """Add up counts; those of nothing are zero."""
    rows = Counter(read=0, scored=0, warned=0, rejected=0)
    made: Counts = {"rows": rows, "warnings": Counter(), "reasons": Counter(), "examples": {}}
    for one in counts:
        for name, found in one.items():
            made[name].update(found)
    return made


def lines(counts: Counts) -> Iterator[str]:
    """A summary: unusual cells by column, bad ones by reason with an example, the most frequent first."""
    yield f"  scored    {counts['rows']['scored']:>13,}"
    yield f"  warned    {counts['rows']['warned']:>13,}"
    for name, number in Counter(counts["warnings"]).most_common(SHOWN):
        yield f"            {number:>13,}  {name}"
    yield f"  rejected  {counts['rows']['rejected']:>13,}"
    for name, number in Counter(counts["reasons"]).most_common(SHOWN):
        yield f"            {number:>13,}  {name}; for example {counts['examples'][name]}"


def check(limit: str, rows: Mapping[str, int]) -> None:
    """Refuse too many rejected rows.

    Parameters
    ----------
    limit : str
        A share such as ``1%``, or a number of rows such as ``100``.
    rows : mapping
        As in :data:`Counts`.

    Raises
    ------
    MlrefError
        For a limit of another form.
    NotPublished
        With both figures.

    Examples
    --------
    >>> check("0.5%", {"read": 200, "rejected": 1})
    """
    if not re.fullmatch(r"\d+|(100|\d?\d(\.\d+)?)%", limit):
        raise MlrefError(f"--max-rejected: a share such as 1%, or a number of rows, not {limit!r}.")
    share, rejected, read = limit.endswith("%"), rows["rejected"], rows["read"]
    if rejected > (float(limit[:-1]) / 100 * read if share else int(limit)):
        raise NotPublished(
            f"{rejected} of {read} rows are rejected ({100 * rejected / read:.4g} %); allowed:"
            f" {limit.replace('%', ' %')}. The output is not declared complete."
        )
