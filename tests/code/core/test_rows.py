"""Which rows are accepted, which refused, and what in them is unusual."""

import math
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlref.core.contract import Column, Contract
from mlref.core.errors import Violation
from mlref.core.rows import (
    DictionaryColumn,
    from_file,
    generate,
    validate,
    validate_records,
    warning,
)
from tests.fakes import CONTRACT

ABOUT: dict[str, Any] = {"title": "X", "meaning": "X."}
COLUMNS = {
    "number": Column(
        name="x", type="number", valid=(0, 120), expected=(18, 80), example=50, **ABOUT
    ),
    "integer": Column(name="x", type="integer", valid=(0, 120), example=50, **ABOUT),
    "nullable": Column(name="x", type="number", valid=(0, 9), nullable=True, example=5, **ABOUT),
    "text": Column(name="x", type="category", allowed=("1", "true", "b"), example="b", **ABOUT),
    "codes": Column(name="x", type="category", allowed=(1, 2), example=2, **ABOUT),
    "any": Column(name="x", type="number", example=2, **ABOUT),
    "boolean": Column(name="x", type="boolean", example=True, **ABOUT),
    "date": Column(
        name="x", type="date", origin=date(2020, 1, 1), nullable=True, example="2020-05-31", **ABOUT
    ),
    "maybe": Column(
        name="x", type="category", allowed=("a", "b"), nullable=True, example="a", **ABOUT
    ),
    "maybe code": Column(
        name="x", type="category", allowed=(1, 2), nullable=True, example=1, **ABOUT
    ),
}
GOOD = {"area": 70.5, "rooms": 3, "heating": "oil", "balcony": 4}
NULL = float("nan")


@pytest.mark.parametrize(
    ("kind", "cell", "code"),
    [
        ("number", 59.5, 59.5),
        ("number", np.int64(59), 59.0),
        ("number", 0, 0.0),
        ("number", 120, 120.0),
        ("integer", 59.0, 59.0),
        ("nullable", None, NULL),
        ("nullable", np.float64("nan"), NULL),
        ("text", "b", 2.0),
        ("codes", 2.0, 1.0),
        ("any", -1e300, -1e300),
        ("boolean", np.True_, 1.0),
        ("boolean", False, 0.0),
        ("date", "2020-01-31", 30.0),
        ("date", "2020-01-31T23:30:00-01:00", 31.0),
        ("date", "2019-12-31 08:00:00.123456789", -1.0),
        ("date", datetime(2020, 1, 2, 1, tzinfo=UTC), 1.0),
        ("date", NULL, NULL),
        ("maybe", "b", 1.0),
        ("maybe", NULL, NULL),
        ("maybe code", None, NULL),
    ],
)
def test_a_value_of_the_columns_type_is_encoded(kind: str, cell: object, code: float) -> None:
    """Numbers as they are, a category as its index, null as NaN; both ends of `valid` belong to it."""
    verdict = validate([COLUMNS[kind]], {"x": [cell]})
    assert verdict.refused == []
    np.testing.assert_equal(verdict.array, [[code]])


@pytest.mark.parametrize(
    ("kind", "cell", "shown"),
    [
        ("number", True, "True"),
        ("number", "59", "'59'"),
        ("number", None, "null"),
        ("number", math.inf, "inf"),
        ("number", 10**400, "1000000000000000"),
        ("number", -0.001, "-0.001"),
        ("number", 120.5, "120.5"),
        ("number", [59], "[59]"),
        ("integer", 59.5, "59.5"),
        ("nullable", "", "''"),
        ("any", math.inf, "inf"),
        ("any", None, "null"),
        ("boolean", 1, "1"),
        ("boolean", "true", "'true'"),
        ("boolean", None, "null"),
        ("date", "2020-02-31", "'2020-02-31'"),
        ("date", "20200131", "'20200131'"),
        ("date", 18_000, "18000"),
        ("text", 1, "1"),
        ("text", "B", "'B'"),
        ("text", None, "null"),
        ("codes", "1", "'1'"),
        ("codes", True, "True"),
        ("codes", 0, "0"),
        ("maybe", "c", "'c'"),
        ("maybe code", 3, "3"),
    ],
)
def test_any_other_value_is_refused(kind: str, cell: object, shown: str) -> None:
    """Nothing is converted; the violation shows the value and what is allowed."""
    column = COLUMNS[kind]
    (violation,) = validate([column], {"x": [cell]}).refused
    assert (violation.row, violation.column, violation.allowed) == (0, "x", column.accepts)
    assert violation.got.startswith(shown)
    assert len(violation.got) < 80


@pytest.mark.parametrize(
    ("cell", "usual"), [(17.9, False), (18, True), (80, True), (80.1, False), (121, True)]
)
def test_a_value_outside_expected_is_unusual_but_accepted(cell: float, usual: bool) -> None:
    """Both ends are usual; what is refused is not also unusual."""
    verdict = validate([COLUMNS["number"]], {"x": [50, cell]})
    expected = [] if usual else [Violation(1, "x", f"{cell:.6g}", "18 to 80")]
    assert verdict.unusual == expected
    assert len(verdict.refused) == (cell == 121)


@pytest.mark.parametrize("kind", ["float64", "float32", "int64", "uint8"])
def test_an_array_of_numbers_gets_the_verdict_of_its_values(kind: str) -> None:
    """The quick way for arrays and the careful way for lists agree."""
    cells = np.array([0, 17, 50, 121, 200]).astype(kind)
    fast, slow = (validate([COLUMNS["number"]], {"x": x}) for x in (cells, cells.tolist()))
    assert (fast.refused, fast.unusual) == (slow.refused, slow.unusual)
    np.testing.assert_equal(fast.array, slow.array)


def test_an_array_of_booleans_holds_no_numbers() -> None:
    verdict = validate([COLUMNS["number"]], {"x": np.array([True, False])})
    assert [violation.row for violation in verdict.refused] == [0, 1]


@pytest.mark.parametrize(
    ("kind", "cell"), [("text", "z"), ("codes", 9), ("number", 700), ("number", "59")]
)
def test_refused_cells_are_nan_in_the_array(kind: str, cell: object) -> None:
    """No refused value can be taken for a code or a number."""
    assert np.isnan(validate([COLUMNS[kind]], {"x": [cell]}).array).all()


def test_the_array_is_in_the_order_of_the_columns() -> None:
    """Whatever the order of a record's keys."""
    backwards = dict(reversed(GOOD.items()))
    assert validate_records(CONTRACT, [backwards]).array.tolist() == [[70.5, 3.0, 1.0, 4.0]]


CELLS = st.sampled_from(
    [None, NULL, math.inf, True, "gas", "dung", "3", "", -1, 0, 1, 3, 3.5, 20, 50.0, 999, 10**400]
)
RECORDS = st.lists(st.fixed_dictionaries({name: CELLS for name in GOOD}), min_size=1, max_size=8)


FEW = settings(max_examples=30)


@FEW
@given(RECORDS, st.randoms(use_true_random=False))
def test_a_rows_verdict_does_not_depend_on_its_place(records: list[Any], random: Any) -> None:
    """Shuffled rows get the same codes and violations, at their new places."""
    order = list(range(len(records)))
    random.shuffle(order)
    straight = validate_records(CONTRACT, records)
    shuffled = validate_records(CONTRACT, [records[place] for place in order])
    np.testing.assert_equal(shuffled.array, straight.array[order])
    for name in ("refused", "unusual"):
        found = {
            (order[violation.row or 0], violation.column, violation.got)
            for violation in getattr(shuffled, name)
        }
        assert found == {(item.row, item.column, item.got) for item in getattr(straight, name)}


def decoded(contract: Contract, array: np.ndarray[Any, Any]) -> list[dict[str, object]]:
    """Encoded rows as the records that they came from."""
    return [
        {
            column.name: (
                None if np.isnan(x) else column.allowed[int(x)] if column.allowed else float(x)
            )
            for column, x in zip(contract.features, row, strict=True)
        }
        for row in array
    ]


@FEW
@given(st.integers(0, 2**32 - 1))
def test_generated_rows_are_accepted_and_encode_to_themselves(seed: int) -> None:
    """Decoding and validating them again gives the same array: encoding loses nothing."""
    array = generate(CONTRACT, 20, seed)
    verdict = validate_records(CONTRACT, decoded(CONTRACT, array))
    assert verdict.refused == []
    np.testing.assert_equal(verdict.array, array)


@given(st.floats(-50, 50), st.floats(1, 5), st.integers(0, 99))
def test_generated_integers_stay_inside_a_range_with_any_ends(
    low: float, width: float, seed: int
) -> None:
    inside = math.ceil(low)
    column = Column(name="x", type="integer", valid=(low, low + width), example=inside, **ABOUT)
    contract = CONTRACT.model_copy(update={"features": (column,)})
    assert validate([column], {"x": generate(contract, 50, seed)[:, 0]}).refused == []


def test_generated_rows_depend_on_the_seed_alone_and_hold_nulls() -> None:
    """About a tenth of a nullable column is null, and nothing of the others."""
    first, again, other = (generate(CONTRACT, 1000, seed) for seed in (1, 1, 2))
    np.testing.assert_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)
    share = np.isnan(first).mean(axis=0)
    assert share[:3].tolist() == [0, 0, 0]
    assert 0.05 < share[3] < 0.15


def test_cells_that_repeat_are_validated_like_cells_one_by_one() -> None:
    """Each distinct one is looked at once; what is refused and shown is the same."""
    table: dict[str, list[object]] = {
        "area": [70, 70, "tall", 1], "rooms": [3, 2.5, 3, 9],
        "heating": ["oil", None, "coal", "oil"], "balcony": [None, 4, True, None],
    }  # fmt: skip
    distinct = {name: [*dict.fromkeys(cells)] for name, cells in table.items()}
    repeated = {
        name: DictionaryColumn(
            np.array([distinct[name].index(cell) for cell in cells]), distinct[name]
        )
        for name, cells in table.items()
    }
    plain, same = validate(CONTRACT.features, table), validate(CONTRACT.features, repeated)
    assert (same.refused, same.unusual) == (plain.refused, plain.unusual)
    np.testing.assert_equal(same.array, plain.array)
    assert [len(cells) for cells in repeated.values()] == [4, 4, 4, 4]


def test_a_column_without_a_usual_range_has_nothing_unusual() -> None:
    """Its warning is never given, and would be a sentence all the same."""
    area, _, heating, _ = CONTRACT.features
    assert warning(area) == "area is unusual: expected 20 to 300 m²."
    assert warning(heating) == "heating is unusual: expected anything."


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        ("number", " 1e3 ", 1000.0),
        ("number", "1_000", "1_000"),
        ("number", True, True),
        ("boolean", "TRUE", True),
        ("boolean", 0, False),
        ("boolean", "1.0", True),
        ("boolean", "yes", "yes"),
        ("date", "2020-05-31T08:00:00Z", "2020-05-31"),
        ("date", date(2020, 5, 31), "2020-05-31"),
        ("date", "31.5.2020", "31.5.2020"),
        ("text", 1, "1"),
        ("text", True, "True"),
        ("text", " b", " b"),
        ("maybe", None, None),
    ],
)
def test_a_cell_of_a_file_is_read_as_its_column_asks(
    kind: str, cell: object, value: object
) -> None:
    """What it cannot be, it stays, so that a refusal can show it."""
    found = from_file(COLUMNS[kind], cell)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_generated_rows_of_every_type_are_possible(column: Column) -> None:
    contract = CONTRACT.model_copy(update={"features": (column,)})
    for code in generate(contract, 20, 1)[:, 0].tolist():
        assert column.nullable if math.isnan(code) else column.bounds[0] <= code <= column.bounds[1]
