"""Every refusal says what was seen, what is allowed and what to do next."""

import pickle

import pytest

from mlref.core import errors
from mlref.core.errors import (
    SHOWN,
    ContractError,
    DataError,
    EnvironmentFault,
    GateBlocked,
    MlrefError,
    ModelNotFound,
    RowsRefused,
    Violation,
)

FAMILY = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, MlrefError)
]


def test_the_family_is_drawn_and_only_a_fault_of_the_environment_exits_with_4() -> None:
    for member in FAMILY[1:]:
        assert f"── {member.__name__} " in (errors.__doc__ or "")
        assert member.exit_code == (4 if member is EnvironmentFault else 1)


@pytest.mark.parametrize(
    ("violation", "line"),
    [
        (Violation(3, "age", "700", "a number"), "row 5, column 'age': got 700; allowed: a number"),
        (Violation(3, None, "text", "an object"), "row 5: got text; allowed: an object"),
        (Violation(None, "age", "nothing", "age"), "column 'age': got nothing; allowed: age"),
    ],
)
def test_a_refusal_names_row_column_value_and_what_is_allowed(
    violation: Violation, line: str
) -> None:
    """Rows are counted as the source counts them: row 0 of a CSV file is its line 2."""
    refusal = RowsRefused("x.csv", [violation], first_row=2)
    assert str(refusal) == f"x.csv: 1 value refused\n  {line}"


@pytest.mark.parametrize("more", [0, 1, 5])
def test_a_long_list_is_cut_in_the_message_but_not_in_the_violations(more: int) -> None:
    violations = [Violation(row, "age", "x", "y") for row in range(SHOWN + more)]
    refusal = RowsRefused("x.csv", violations)
    assert len(refusal.violations) == SHOWN + more
    assert str(refusal).count("\n  row ") == SHOWN
    assert str(refusal).endswith(f"… and {more} more") == bool(more)


def test_many_faults_begin_with_a_line_for_each_column() -> None:
    """Else one column's would bury the others'."""
    dates = [Violation(row, "age", "'2024'", "a number") for row in range(400)]
    refusal = RowsRefused("x.csv", [*dates, Violation(7, "sex", "x", "a or b")], 2, "Do that.")
    assert str(refusal).splitlines()[1:3] == [
        "  column 'age': 400 refused, such as '2024' in row 2; allowed: a number",
        "  column 'sex': 1 refused, such as x in row 9; allowed: a or b",
    ]
    assert str(refusal).endswith("more\n  Do that.")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ContractError("x", ["a: is missing", "b: no"]), "x has 2 mistakes:\n  a: is missing\n  b: no"),
        (DataError("x.csv", "is empty", "Fill it."), "x.csv: is empty\n  Fill it."),
        (ModelNotFound("7", ["1", "champion"]), "The bundle store has no model '7'. It has: 1, champion."),
        (
            ModelNotFound("champion", []),
            "The bundle store has no model 'champion'. It is empty: run `make train` first.",
        ),
        (
            GateBlocked(["worse", "slower"]),
            "The gate blocked this model; the champion stays:\n  worse\n  slower",
        ),
        (
            EnvironmentFault("x", OSError(28, "No space left on device")),
            "x: No space left on device. What was there before is unchanged.",
        ),
        (EnvironmentFault("x", RuntimeError("no such\ntable"), ""), "x: no such table."),
        (EnvironmentFault("x", TimeoutError(), ""), "x: TimeoutError."),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_each_error_builds_its_own_sentence_once(error: MlrefError, sentence: str) -> None:
    """Also after it has travelled between processes."""
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == sentence
