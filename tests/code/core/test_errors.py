"""Every refusal says what was seen, what is allowed and what to do next."""

import pytest

from mlref.core import errors
from mlref.core.errors import (
    SHOWN,
    BundleError,
    ContractError,
    DataError,
    EnvironmentFault,
    GateBlocked,
    MlrefError,
    ModelNotFound,
    NotReproduced,
    PipelineFailed,
    PredictionLogError,
    RowsRefused,
    RunNotFound,
    SettingsError,
    Violation,
)

FAMILY = [
    ContractError,
    SettingsError,
    RowsRefused,
    DataError,
    BundleError,
    ModelNotFound,
    RunNotFound,
    PipelineFailed,
    GateBlocked,
    NotReproduced,
    PredictionLogError,
    EnvironmentFault,
]


@pytest.mark.parametrize("member", FAMILY)
def test_every_error_is_of_the_one_family(member: type[MlrefError]) -> None:
    """Whoever catches the root catches all; the drawing in the docstring has each of them."""
    assert issubclass(member, MlrefError)
    assert f"── {member.__name__} " in (errors.__doc__ or "")


@pytest.mark.parametrize("member", FAMILY)
def test_only_a_fault_of_the_environment_exits_with_4(member: type[MlrefError]) -> None:
    """All other refusals are about the user's data, configuration or request: 1."""
    assert member.exit_code == (4 if member is EnvironmentFault else 1)


@pytest.mark.parametrize(
    ("mistakes", "sentence"),
    [
        (["a: is missing"], "x.yaml has 1 mistake:\n  a: is missing"),
        (["a: is missing", "b: no"], "x.yaml has 2 mistakes:\n  a: is missing\n  b: no"),
    ],
)
def test_a_contract_error_lists_all_mistakes(mistakes: list[str], sentence: str) -> None:
    """In its message and as data."""
    error = ContractError("x.yaml", mistakes)
    assert (str(error), error.mistakes) == (sentence, tuple(mistakes))


@pytest.mark.parametrize(
    ("violation", "line"),
    [
        (Violation(3, "age", "700", "a number"), "row 3, column 'age': got 700; allowed: a number"),
        (Violation(3, None, "text", "an object"), "row 3: got text; allowed: an object"),
        (Violation(None, "age", "nothing", "age"), "column 'age': got nothing; allowed: age"),
    ],
)
def test_a_refusal_names_row_column_value_and_what_is_allowed(
    violation: Violation, line: str
) -> None:
    """As far as the violation has a row and a column."""
    assert str(RowsRefused("x.csv", [violation])) == f"x.csv: 1 value refused\n  {line}"


def test_rows_are_counted_as_the_source_counts_them() -> None:
    """Row 0 of a CSV file is its line 2."""
    refusal = RowsRefused("x.csv", [Violation(0, "age", "700", "a number")], first_row=2)
    assert "row 2, column 'age'" in str(refusal)


@pytest.mark.parametrize("more", [0, 1, 5])
def test_a_long_list_is_cut_in_the_message_but_not_in_the_findings(more: int) -> None:
    """The first twenty lines, then how many more."""
    violations = [Violation(row, "age", "x", "y") for row in range(SHOWN + more)]
    refusal = RowsRefused("x.csv", violations)
    assert len(refusal.violations) == SHOWN + more
    assert str(refusal).count("\n  row ") == SHOWN
    assert ("more" in str(refusal)) == bool(more)
    assert not more or str(refusal).endswith(f"… and {more} more")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (DataError("x.csv", "is empty"), "x.csv: is empty"),
        (DataError("x.csv", "is empty", "Fill it."), "x.csv: is empty\n  Fill it."),
        (
            ModelNotFound("7", ["1", "champion"]),
            "The bundle store has no model '7'. It has: 1, champion.",
        ),
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
        (EnvironmentFault("x", RuntimeError("no such table"), ""), "x: no such table."),
        (EnvironmentFault("x", TimeoutError(), ""), "x: TimeoutError."),
    ],
)
def test_each_error_builds_its_own_sentence(error: MlrefError, sentence: str) -> None:
    """What was seen, and the next step where there is one."""
    assert str(error) == sentence
