"""Arrow's columns reach the judge as the cells that Python would see."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlref.batch.cells import arrow, cells, is_number, mask, numbers, numpy, words
from mlref.core.rows import masks, validate
from mlref.data.tables import decode
from tests.fakes import CONTRACT

CELL = st.one_of(
    st.none(),
    st.floats().map(repr),
    st.integers(-10, 1100).map(str),
    st.sampled_from(["gas", "oil", "wood", "coal", "nan", "-nan", "nan(1)", "inf", "Infinity", "1_0",
                     " 7 ", "7\t", "+7", "7.", ".7", "7e0", "0x7", "True", "7,5", "７", "1e400", "--7"]),
    st.text(min_size=1, max_size=3),
)  # fmt: skip


@given(st.lists(st.tuples(CELL, CELL, CELL, CELL), min_size=1, max_size=20))
def test_text_gets_the_verdict_of_the_pipeline(rows: list[tuple[str | None, ...]]) -> None:
    """Cell by cell the same as CSV that the stages read, which is what the model learned from."""
    columns = list(zip(*rows, strict=True))
    table = dict(zip(CONTRACT.names, columns, strict=True))
    found = {
        one.name: cells(one, pa.array(table[one.name], pa.string()), text=True)
        for one in CONTRACT.features
    }
    frame = decode(pd.DataFrame(table, dtype=object), CONTRACT.features)
    staged = {one.name: frame[one.name].to_numpy() for one in CONTRACT.features}
    ours, theirs = masks(CONTRACT.features, found), masks(CONTRACT.features, staged)
    np.testing.assert_array_equal(ours.refused, theirs.refused)
    np.testing.assert_array_equal(ours.array, theirs.array)


VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "area": (pa.float64(), st.none() | st.floats(0, 1100) | st.sampled_from([math.nan, math.inf])),
    "rooms": (pa.int64(), st.none() | st.integers(-2, 22) | st.just(2**60)),
    "heating": (pa.string(), st.none() | st.sampled_from(["gas", "oil", "wood", "coal", ""])),
    "balcony": (pa.float32(), st.none() | st.floats(-1, 101, width=32)),
}


@given(st.data(), st.integers(1, 30))
def test_typed_columns_get_the_verdict_of_python_values(data: st.DataObject, count: int) -> None:
    """Of the values that a request would have brought."""
    table = {
        name: data.draw(st.lists(strategy, min_size=count, max_size=count))
        for name, (_, strategy) in VALUES.items()
    }
    found = {
        one.name: cells(one, pa.array(table[one.name], VALUES[one.name][0]), text=False)
        for one in CONTRACT.features
    }
    ours, theirs = validate(CONTRACT.features, found), validate(CONTRACT.features, table)
    assert [(one.row, one.column) for one in ours.refused] == (
        [(one.row, one.column) for one in theirs.refused]
    )
    assert [(one.row, one.column) for one in ours.unusual] == (
        [(one.row, one.column) for one in theirs.unusual]
    )
    np.testing.assert_array_equal(ours.array, theirs.array)


def test_a_slice_of_a_column_is_read_where_it_begins() -> None:
    """Arrow's arrays share their memory."""
    area, _, heating, _ = CONTRACT.features
    assert list(cells(area, pa.array([1.0, 2, 3]).slice(1), text=False)) == [2, 3]
    named = cells(heating, pa.array(["gas", "oil", "wood"]).slice(1), text=False)
    assert [named[row] for row in range(len(named))] == ["oil", "wood"]


@pytest.mark.parametrize("kind", [np.float64, np.int32, np.int64, np.bool_])
@pytest.mark.parametrize("count", [0, 1, 8, 13])
def test_arrays_change_hands_unchanged(kind: Any, count: int) -> None:
    """Also those that do not lie together in memory."""
    values = np.arange(2 * count)[::2].astype(kind)
    assert arrow(values).to_pylist() == values.tolist()
    back = arrow(values)
    assert (mask(back) if kind is np.bool_ else numpy(back)).tolist() == values.tolist()


def test_words_are_strings() -> None:
    """Of any alphabet."""
    assert words(["m²", "", "x"]).to_pylist() == ["m²", "", "x"]


def test_numbers_of_text_are_numbers_or_null() -> None:
    """For the columns of a part that is made of CSV."""
    area = CONTRACT.features[0]
    for column in ["1.5", None], ["1.5", "tall"]:
        found = cells(area, pa.array(column), text=True)
        assert numbers(found).to_pylist() == [1.5, None]
    assert [is_number(one) for one in CONTRACT.features] == [True, True, False, True]
