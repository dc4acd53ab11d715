"""The groups of rows that the contract declares."""

import numpy as np

from mlref.core.contract import parse
from mlref.evaluation.slices import groups, slices
from tests.fakes import CONTRACT, CONTRACT_TEXT

SLICED = parse(CONTRACT_TEXT + """\
slices:
  - {column: heating, reason: r}
  - {column: area, edges: [50, 100], reason: r}
  - {column: balcony, edges: [10], reason: r}
""")
NAN = float("nan")
ROWS = np.array([
    # area, rooms, heating, balcony
    [49.9, 1.0, 0.0, 9.9],
    [50.0, 1.0, 1.0, 10.0],
    [99.9, 1.0, 2.0, NAN],
    [100.0, 1.0, 0.0, 50.0],
])  # fmt: skip


def test_each_slice_has_a_name_and_its_rows() -> None:
    """An edge belongs to the slice above it; a null belongs to none."""
    rows = np.vstack([ROWS, [30.0, 1.0, NAN, NAN]])
    assert {name: np.flatnonzero(mask).tolist() for name, mask in slices(SLICED, rows)} == {
        "heating = gas": [0, 3],
        "heating = oil": [1],
        "heating = wood": [2],
        "area < 50": [0, 4],
        "area in [50, 100)": [1, 2],
        "area ≥ 100": [3],
        "balcony < 10": [0],
        "balcony ≥ 10": [1, 3],
    }
    assert list(slices(CONTRACT, rows)) == []


def test_one_slice_gives_its_own_groups() -> None:
    names = [name for name, _ in groups(SLICED, SLICED.slices[1], ROWS)]
    assert names == ["area < 50", "area in [50, 100)", "area ≥ 100"]
