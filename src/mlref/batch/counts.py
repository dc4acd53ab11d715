"""What became of the rows, and how many may be rejected."""

import contextlib
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from mlref.core.errors import MlrefError, NotPublished


@dataclass
class Counts:
    """Numbers of rows; ``reasons`` counts bad cells, of which a rejected row may have several."""

    read: int = 0
    scored: int = 0
    warned: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Self) -> Self:
        """The counts of both.

        Examples
        --------
        >>> (Counts(read=3, scored=3) + Counts(read=1, rejected=1)).read
        4
        """
        return type(self)(
            self.read + other.read, self.scored + other.scored, self.warned + other.warned,
            self.rejected + other.rejected, self.reasons + other.reasons,
        )  # fmt: skip


class Limit(NamedTuple):
    """How many rows may be rejected before nothing is published: a share, or a number of rows."""

    allowed: float
    is_share: bool

    @classmethod
    def parse(cls, text: str) -> "Limit":
        """Read ``1%`` or ``100``.

        Raises
        ------
        MlrefError
            For anything else.

        Examples
        --------
        >>> Limit.parse("0.5%"), Limit.parse("100")
        (Limit(allowed=0.005, is_share=True), Limit(allowed=100.0, is_share=False))
        """
        number, percent = text.removesuffix("%"), text.endswith("%")
        with contextlib.suppress(ValueError):
            allowed = float(number) / 100 if percent else float(int(number))
            if 0 <= allowed <= (1 if percent else math.inf):
                return cls(allowed, percent)
        raise MlrefError(
            f"--max-rejected takes a share such as 1% or a number of rows, not {text!r}."
        )

    def check(self, counts: Counts) -> None:
        """Refuse too many rejected rows.

        Raises
        ------
        NotPublished
            With both figures.
        """
        if counts.rejected > (self.allowed * counts.read if self.is_share else self.allowed):
            share = counts.rejected / counts.read
            allowed = f"{self.allowed:.4g}" if not self.is_share else f"{100 * self.allowed:.4g} %"
            raise NotPublished(
                f"{counts.rejected} of {counts.read} rows are rejected ({100 * share:.4g} %); allowed:"
                f" {allowed}. Nothing is published; the rejected rows are written down."
            )
