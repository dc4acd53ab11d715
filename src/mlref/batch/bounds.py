"""How much of a file is in memory at a time."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlref.core.errors import Violation

ROWS = 131_072
"""Most rows of a batch, and of a row group of the output."""

BYTES = 48 << 20
"""Most bytes of a batch, as far as a single row does not take more."""


class Batch(NamedTuple):
    """Rows, the zero-based place of each in the file, and records before them that are no rows."""

    rows: pa.RecordBatch
    places: NDArray[np.int64]
    ragged: Sequence[Violation] = ()


Batches = Iterator[Batch]


def fitting(width: float) -> int:
    """How many rows of so many bytes make a batch."""
    return int(max(1, min(ROWS, BYTES // max(width, 1))))
