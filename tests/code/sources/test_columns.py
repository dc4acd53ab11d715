"""What a column is, from its values alone."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlref.core.contract import Column
from mlref.sources.columns import describe, relation

GENERATOR = np.random.default_rng(0)
SIZES = GENERATOR.normal(50, 10, 200).round(1).astype(str).tolist()
WORDS = [f"word{n} and more" for n in range(200)]


@pytest.mark.parametrize(
    ("name", "cells", "kind", "evidence"),
    [
        ("size", SIZES, "number", " different values"),
        ("size", [*SIZES, "n/a"], "number", "; 1 are no numbers, such as 'n/a'"),
        ("size", [*SIZES, None], "number", "less than 1 % missing; "),
        ("rooms", [str(n % 9) for n in range(200)], "integer", "9 different values"),
        ("sex", ["1", "2", "2"] * 20, "category", "coded category: only 1, 2;"),
        (
            "sold",
            ["2020-01-31 08:00", "2021-05-31"] * 20,
            "date",
            "dates from 2020-01-31 to 2021-05-31",
        ),
        (
            "sold",
            [date(2020, 1, 31), date(2021, 5, 31), None] * 9,
            "date",
            "33 % missing; dates from",
        ),
        ("lift", ["TRUE", "false", "false", None] * 9, "boolean", "25 % missing; true in 33 %"),
        ("heat", ["gas", "oil", "1"] * 20, "category", "3 categories"),
        ("heat", [*["gas", "oil"] * 20, "coal"], "category", "1 of them in fewer than 5 rows"),
        ("house", [str(n) for n in range(200)], None, "identifier: a different whole number"),
        (
            "order_id",
            [str(n * n) for n in range(200)],
            None,
            "identifier: a different whole number",
        ),
        ("price", [str(n * n) for n in range(200)], "integer", "200 different values"),
        ("code", [f"a{n}" for n in range(200)], None, "identifier: a different text in each row"),
        ("note", WORDS, None, "free text: 200 different ones of 15 characters"),
        ("same", ["x"] * 30, None, "constant: x"),
        ("none", [None] * 30, None, "no value at all"),
        ("huge", [str(2**70 + n) for n in range(30)], None, "constant: 1.18059e+21"),
    ],
)
def test_a_column_is_told_by_its_values(
    name: str, cells: list[Any], kind: str | None, evidence: str
) -> None:
    """What is left out has no type; what is drafted, the contract accepts."""
    found = describe(name, pd.Series(cells, dtype=object))
    assert evidence in found.evidence
    assert (found.declared.get("type"), found.left_out) == (kind, kind is None)
    assert len(found.values) == len(cells)
    if kind:
        about = {"name": name, "title": "T", "meaning": "M"}
        column = Column.model_validate(found.declared | about, strict=False)
        assert column.nullable == (None in cells)


@pytest.mark.parametrize(
    ("cells", "expected", "example"),
    [
        ([1.234, 5.678, 3.3] * 20, [1.2, 5.7], 3.3),
        ([-0.00123, 0.0456, 0.02] * 20, [-0.002, 0.046], 0.02),
        ([7, 12, 30, 40, 55, 88] * 20, [7, 88], 35),
        ([12345.6, 98765.4, 50000] * 20, [12000, 99000], 50000),
    ],
)
def test_what_is_usual_is_rounded_outward(
    cells: list[float], expected: list[float], example: float
) -> None:
    """To two digits of the width, so that nothing usual is left outside by rounding."""
    declared = describe("x", pd.Series(cells)).declared
    assert (declared["expected"], declared["example"]) == (expected, example)


def test_how_much_of_the_target_a_column_knows() -> None:
    """A curve is a copy as well as a line; a category knows what its groups' means explain."""
    target = np.linspace(1, 9, 90)
    cells = {
        "line": pd.Series(-target), "curve": pd.Series(np.exp(target)),
        "noise": pd.Series(np.random.default_rng(1).normal(size=90)),
        "group": pd.Series(np.repeat(["a", "b", "c"], 30)), "same": pd.Series(["x"] * 90),
    }  # fmt: skip
    found = {name: relation(describe(name, it), target) for name, it in cells.items()}
    assert found["line"] == found["curve"] == pytest.approx(1)
    assert found["noise"] < 0.3
    assert 0.9 < found["group"] < 0.99
    assert found["same"] == 0
