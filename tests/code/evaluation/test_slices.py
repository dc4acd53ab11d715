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
    assert {name: np.flatnonzero(rows).tolist() for name, rows in slices(SLICED, ROWS)} == {
        "heating = gas": [0, 3],
        "heating = oil": [1],
        "heating = wood": [2],
        "area < 50": [0],
        "area in [50, 100)": [1, 2],
        "area ≥ 100": [3],
        "balcony < 10": [0],
        "balcony ≥ 10": [1, 3],
    }


def test_slices_of_a_column_share_no_row() -> None:
    """Each row without a null is in exactly one of a column's slices."""
    found = dict(slices(SLICED, ROWS))
    for column, rows in (("heating", 4), ("area", 4), ("balcony", 3)):
        masks = [mask for name, mask in found.items() if column in name]
        assert np.sum(masks, axis=0).tolist().count(1) == rows


def test_a_null_category_is_in_no_slice() -> None:
    """It has no name to be shown under."""
    rows = ROWS.copy()
    rows[0, 2] = NAN
    found = dict(slices(SLICED, rows))
    assert not any(found[f"heating = {value}"][0] for value in ("gas", "oil", "wood"))


def test_a_contract_without_slices_has_none() -> None:
    """The whole is judged anyway."""
    assert list(slices(CONTRACT, ROWS)) == []


def test_one_slice_gives_its_own_groups() -> None:
    """Of one column, in the contract's order."""
    names = [name for name, _ in groups(SLICED, SLICED.slices[1], ROWS)]
    assert names == ["area < 50", "area in [50, 100)", "area ≥ 100"]
