"""Counts of rows, and the limit on rejected ones."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from mlref.core.errors import SHOWN, MlrefError, NotPublished


class Counts(NamedTuple):
    """What became of the rows.

    Parameters
    ----------
    rows : Counter
        Numbers of rows ``read``, ``scored``, ``warned`` and ``rejected``.
    warnings : Counter
        Unusual cells of the scored rows by column.
    reasons : Counter
        Bad cells by column and reason; a rejected row may have several.
    examples : dict
        A bad cell for each reason.
    """

    rows: Counter[str]
    warnings: Counter[str]
    reasons: Counter[str]
    examples: dict[str, str]

    @classmethod
    def sum(cls, counts: Iterable[Mapping[str, Any]] = ()) -> Self:
        """Add up counts as dictionaries, which JSON gives, too."""
        total = cls(Counter(read=0, scored=0, warned=0, rejected=0), Counter(), Counter(), {})
        for one in counts:
            for name, found in one.items():
                getattr(total, name).update(found)
        return total

    def lines(self) -> Iterator[str]:
        """A summary: unusual cells by column, bad ones by reason with an example."""
        yield f"  scored    {self.rows['scored']:>13,}"
        yield f"  warned    {self.rows['warned']:>13,}"
        yield from _most(self.warnings, {})
        yield f"  rejected  {self.rows['rejected']:>13,}"
        yield from _most(self.reasons, self.examples)


def _most(found: Counter[str], examples: Mapping[str, str]) -> Iterator[str]:
    for name, number in found.most_common(SHOWN):
        example = f"; for example {examples[name]}" if name in examples else ""
        yield f"            {number:>13,}  {name}{example}"
    if len(found) > SHOWN:
        yield f"            … for {len(found) - SHOWN} more"


def check(limit: str, rows: Mapping[str, int]) -> None:
    """Refuse too many rejected rows.

    Parameters
    ----------
    limit : str
        A share such as ``1%``, or a number of rows such as ``100``.
    rows : mapping
        As in :class:`Counts`.

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
        raise MlrefError(
            f"--max-rejected takes a share such as 1% or a number of rows, not {limit!r}."
        )
    share, rejected, read = limit.endswith("%"), rows["rejected"], rows["read"]
    if rejected > (float(limit[:-1]) / 100 * read if share else int(limit)):
        raise NotPublished(
            f"{rejected} of {read} rows are rejected ({100 * rejected / read:.4g} %); allowed:"
            f" {limit.replace('%', ' %')}. Nothing is published; the rejected rows are written down."
        )
