"""The test that matters most: Great Expectations and `rows.validate` refuse the same.

Great Expectations validates the dataset at ingestion, ``rows.validate`` the rows of the service, of batch
and of labels. What one accepts and the other refuses would be learned and never served, or served
and never learned.
"""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mlref.core.contract import parse
from mlref.data import validate
from mlref.data.tables import decode, refusals

CONTRACT = parse("""\
name: everything
title: A column of every kind
task: regression
source: {kind: file, path: data/source/x.csv}
homepage: https://example.org
licence: CC0
citation: Made up.
use: {intended: Tests., users: Readers., not_for: [All else.]}
collection: Made up.
known_issues: [No row is real.]
target: {name: y, title: Y, meaning: Y., type: number, valid: [0, 100], example: 1}
features:
- {name: number, title: N, meaning: N., type: number, valid: [-5, 1000], example: 1}
- {name: integer, title: I, meaning: I., type: integer, valid: [-9, 1.0e+20], example: 1}
- {name: text, title: T, meaning: T., type: category, allowed: [gas, "1", "nan"], example: gas}
- {name: code, title: C, meaning: C., type: category, allowed: [1, 2, 30], example: 1}
- {name: maybe, title: X, meaning: X., type: number, valid: [0, 9], nullable: true, example: 1}
- {name: count, title: X, meaning: X., type: integer, valid: [0, 9], nullable: true, example: 1}
- {name: word, title: X, meaning: X., type: category, allowed: [a, b], nullable: true, example: a}
- {name: flag, title: X, meaning: X., type: category, allowed: [0, 1], nullable: true, example: 1}
- {name: any, title: X, meaning: X., type: integer, example: 1}
- {name: lift, title: X, meaning: X., type: boolean, nullable: true, example: true}
- {name: sold, title: X, meaning: X., type: date, origin: 2020-01-01, example: 2020-05-31}
""")
VALID = {
    "number": st.floats(-5, 1000) | st.integers(-5, 1000),
    "integer": st.integers(-9, 10**20) | st.integers(0, 99).map(float),
    "text": st.sampled_from(["gas", "1", "nan"]),
    "code": st.sampled_from([1, 2, 30, 1.0, "2", "30.0"]),
    "maybe": st.floats(0, 9) | st.none(),
    "count": st.integers(0, 9) | st.none() | st.just(math.nan),
    "word": st.sampled_from(["a", "b", None, math.nan]),
    "flag": st.sampled_from([0, 1, 1.0, None, "0"]),
    "any": st.integers(-(10**300), 10**300),
    "lift": st.sampled_from([True, "false", 1, "0", None]),
    "sold": st.sampled_from(["2020-05-31", "1999-01-01T08:00:00Z"]) | st.dates(),
    "y": st.floats(0, 100),
}
MUTATIONS: list[object] = [
    None, math.nan, math.inf, -math.inf, "tall", "", " ", "7", "7.0", " 8 ", "7.5", "1e1", "1_0", "inf",
    "nan", "None", "True", True, False, 0, 1, 1.0, "1.0", 2.5, -1, -10, 0.5, 1000.5, 1e16, 1e17 + 16,
    1e300, 1e-300, -0.0, 5e-324, 10**30, 10**400, -(10**400), "gas", "Gas", "gas ", "a", "2020-02-31",
]  # fmt: skip
"""Nulls, text, text of numbers, booleans, out of range, no whole number, unknown categories, huge."""
GOOD: dict[str, object] = {column.name: column.example for column in CONTRACT.columns}

NUMBERS = [
    cell for cell in MUTATIONS
    if isinstance(cell, (int, float)) and not isinstance(cell, bool) and abs(cell) != 10**400
]  # fmt: skip
"""A column without stray text is kept as float64 and compared another way."""

SINGLE: list[object] = ["tall", True, 10**400, "nan", "", "1_0"]
"""Cells that stop a comparison, or look like another type."""

Table = dict[str, list[object]]
FEW = settings(max_examples=3, phases=[Phase.generate])
"""Great Expectations takes a second for these columns, whatever the number of rows: too long to shrink."""


@st.composite
def tables(
    draw: st.DrawFn, kinds: Sequence[list[object]] = ([], NUMBERS, MUTATIONS), rows: int = 30
) -> Table:
    """Columns of valid cells, in some of which cells of another kind stand among them."""
    count = draw(st.integers(1, rows))
    table = {}
    for name, valid in VALID.items():
        kind = draw(st.sampled_from(kinds))
        cell = valid | st.sampled_from(kind) if kind else valid
        table[name] = draw(st.lists(cell, min_size=count, max_size=count))
    return table


def verdicts(cells: Table) -> tuple[pd.DataFrame, list[Any]]:
    """A table after the one decoding of files, and what Great Expectations found in it."""
    raw = pd.DataFrame({name: pd.Series(column, dtype=object) for name, column in cells.items()})
    frame = decode(raw, CONTRACT.columns)
    return frame, validate.run_suite(validate.suite(CONTRACT), frame).results


def agree(frame: pd.DataFrame, results: list[Any]) -> None:
    """Fail where one refuses what the other accepts.

    A comparison of Great Expectations stops at a stray text, which another expectation names. So a
    column gets the same verdict from both, and where everything could be compared, so does each cell.
    """
    refused = {(cell.row, cell.column) for cell in refusals(CONTRACT, frame)}
    found, failed, stopped = set(), set(), set()
    for item in results:
        if not item.success:
            name = item.expectation_config.kwargs["column"]
            rows = item.result.get("unexpected_index_list")
            failed.add(name)
            stopped |= set() if rows else {name}
            found |= {(row, name) for row in rows or ()}
    assert failed == {name for _, name in refused}
    assert found <= refused
    assert {cell for cell in refused - found if cell[1] not in stopped} == set()


@FEW
@given(tables())
def test_generated_tables_get_the_same_verdict(cells: Table) -> None:
    agree(*verdicts(cells))


def alone(mutations: list[object]) -> Table:
    """Each mutation once in every column, among sound cells."""
    rows = [GOOD | {name: cell} for name in VALID for cell in mutations]
    return {name: [row[name] for row in rows] for name in VALID}


def single(turn: int) -> Table:
    """One cell a column, so that no other cell of its column decides for it."""
    return {name: [SINGLE[(turn + place) % len(SINGLE)]] for place, name in enumerate(VALID)}


@pytest.mark.parametrize(
    "cells",
    [alone(NUMBERS), alone(MUTATIONS), single(0), single(2)],
    ids=["numbers", "with text", "single", "single, others"],
)
def test_mutations_get_the_same_verdict(cells: Table) -> None:
    agree(*verdicts(cells))


@settings(FEW, max_examples=1)
@given(tables(kinds=[[]], rows=99))
def test_generated_valid_rows_are_accepted(cells: Table) -> None:
    """So that agreement is not agreement to refuse everything."""
    frame, results = verdicts(cells)
    agree(frame, results)
    assert refusals(CONTRACT, frame) == []


def test_a_forgotten_expectation_is_noticed() -> None:
    """The tests above can fail: the suite lacks one kind of expectation."""
    frame, results = verdicts(alone([*NUMBERS, True]))
    agree(frame, results)
    for kind in ("not_be_null", "be_of_type", "be_in_set", "match_regex", "be_between"):
        others = [it for it in results if not it.expectation_config.type.endswith(kind)]
        with pytest.raises(AssertionError):
            agree(frame, others)
