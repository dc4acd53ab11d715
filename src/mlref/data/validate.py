"""Stage 2: validate the dataset against the contract, and refuse leaks and other units."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.data_context.types.base import ProgressBarsConfig

from mlref.core.contract import Column, Contract, load
from mlref.core.errors import DataError, RowsRefused, Violation
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, write_bytes, write_json
from mlref.data import tables
from mlref.data.data_docs import page
from mlref.data.leakage import partial_correlations

WHOLE = r"^-?\d+(?:\.0)?$|^-?\d(?:\.\d+)?e\+(?:1[6-9]|[2-9]\d|\d{3})$"
"""A float64 that is a whole number, as Python prints it."""


def suite(contract: Contract) -> "gx.ExpectationSuite":
    """Build the expectations that the contract implies for a dataset, each with a note for people."""
    names, every = list(contract.header), "The columns are {}.".format(", ".join(contract.header))
    expectations: list[Any] = [
        gxe.ExpectTableColumnsToMatchSet(column_set=names, exact_match=True, notes=every)
    ]
    expectations += [_not_null(name) for name in contract.keys]
    for column in contract.columns:
        expectations += _expectations(column)
    return gx.ExpectationSuite(name=contract.name, expectations=expectations)


def _not_null(name: str) -> Any:
    return gxe.ExpectColumnValuesToNotBeNull(column=name, notes="No value is missing.")


def _expectations(column: Column) -> Iterator[Any]:
    name, every = column.name, "Every value is "
    if not column.nullable:
        yield _not_null(name)
    kind, word = ("float", "number") if column.is_number else ("str", "text")
    if column.type == "boolean":
        kind, word = "bool", "boolean"
    yield gxe.ExpectColumnValuesToBeOfType(column=name, type_=kind, notes=f"{every}a {word}.")
    if column.allowed is not None:
        allowed = map(float, column.allowed) if column.is_number else column.allowed
        notes = f"{every}one of {', '.join(map(str, column.allowed))}."
        yield gxe.ExpectColumnValuesToBeInSet(column=name, value_set=list(allowed), notes=notes)
    if column.type == "integer":
        yield gxe.ExpectColumnValuesToMatchRegex(
            column=name, regex=WHOLE, notes=f"{every}a whole number."
        )
    if column.type == "date":
        yield gxe.ExpectColumnValuesToMatchRegex(
            column=name, regex=r"^\d{4}-\d\d-\d\d$", notes=f"{every}a day."
        )
        yield gxe.ExpectColumnValuesToMatchStrftimeFormat(
            column=name, strftime_format="%Y-%m-%d", notes=f"{every}in the calendar."
        )
    elif column.is_number and column.allowed is None:
        lo, hi = column.bounds
        notes = f"{every}from {lo:g} to {hi:g}."
        if column.valid is None:
            notes = f"{every}a finite number{' above 0' if lo > 0 else ''}."
        yield gxe.ExpectColumnValuesToBeBetween(
            column=name, min_value=lo, max_value=hi, notes=notes
        )


def validate(contract: Contract, frame: pd.DataFrame) -> tuple[list[Violation], Any]:
    """Validate a decoded frame.

    Cells are named by ``tables.refusals``, since a comparison of Great Expectations ends at the first stray
    text of a column. An expectation that fails without such a cell is refused as well; a property test holds
    the two together.

    Returns
    -------
    violations : list of Violation
        Sorted by row; empty for a sound dataset.
    result : ExpectationSuiteValidationResult
        What Great Expectations found, for its Data Docs.

    Raises
    ------
    DataError
        For an expectation that is not met, or cannot be evaluated, and no cell is to blame.
    """
    result = run_suite(suite(contract), frame)
    violations = tables.other_columns(contract, frame) or tables.refusals(contract, frame)
    failed = [item.expectation_config for item in result.results if not item.success]
    if failed and not violations:
        problem = f"{failed[0].type} is not met {failed[0].kwargs}"
        raise DataError("data/raw/dataset.csv", problem)
    return violations, result


def run_suite(expectations: "gx.ExpectationSuite", frame: pd.DataFrame) -> Any:
    """Run a suite on a frame."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas(expectations.name)
    batch = source.add_dataframe_asset("dataset").add_batch_definition_whole_dataframe("all rows")
    definition = gx.ValidationDefinition(
        name="dataset", data=batch, suite=context.suites.add(expectations)
    )
    # As objects, one expectation fits all: a clean column and one with stray text get equal treatment.
    return definition.run(
        batch_parameters={"dataframe": frame.astype(object)}, result_format="COMPLETE"
    )


def check_leakage(contract: Contract, frame: pd.DataFrame, limit: float) -> None:
    """Refuse a feature that is a copy of the target, by itself or together with the others.

    Parameters
    ----------
    frame : DataFrame, shape (n, columns)
        Sound rows.
    limit : float
        Largest absolute Pearson correlation of a feature with the target, and largest partial
        correlation given the other features: two parts of a sum are no copies of it, but both together.

    Raises
    ------
    DataError
        Names the feature; a model would be given its answer.
    """
    features, target = tables.encode(contract, frame)
    alone = pd.DataFrame(features, columns=contract.names).corrwith(pd.Series(target)).to_dict()
    partial = partial_correlations(contract, features, target)["columns"]
    found = {"a correlation": alone, "given the others, a partial correlation": partial}
    for kind, columns in found.items():
        for name, correlation in columns.items():
            if abs(correlation) > limit:
                raise DataError(
                    "data/raw/dataset.csv",
                    f"column {name!r} follows the target {contract.target.name!r} with"
                    f" {kind} of {correlation:.4f}; allowed: {limit:g} (validate.max_correlation)",
                    "A column that is computed from the target is not known when a prediction is needed.",
                )


def check_usual(contract: Contract, frame: pd.DataFrame, limit: float) -> None:
    """Refuse a column with too many values outside its ``expected`` range.

    A few are unusual rows. Many are another unit, or another population than the contract is about.

    Parameters
    ----------
    frame : DataFrame, shape (n, columns)
        Sound rows.
    limit : float
        Largest share of a column's values, nulls left out, that may be unusual.

    Raises
    ------
    DataError
        Names the column, the share and the limit.
    """
    unusual = Counter(violation.column for violation in tables.validate(contract, frame).unusual)
    for column in contract.columns:
        share = unusual[column.name] / max(frame[column.name].count(), 1)
        if share > limit and column.expected is not None:
            lo, hi = column.expected
            raise DataError(
                "data/raw/dataset.csv",
                f"{share:.1%} of the values of column {column.name!r} are not between {lo:g} and {hi:g}"
                f"{f' ({column.unit})' if column.unit else ''}; allowed: {limit:.1%} (validate.max_unusual)",
                "Check the unit. If the values are right, widen the column's `expected` range.",
            )


def run(project: Project) -> str:
    """Validate the raw rows of this clone; when a row is refused, only the Data Docs are written."""
    contract, settings = load(project.contract), load_settings(project.params).validate_
    frame = tables.decode(tables.read_csv(project.raw), contract.columns)
    given = len(frame)
    frame, places = tables.with_target(contract, frame)
    violations, result = validate(contract, frame)
    write_bytes(project.data_docs, page(contract, len(frame), result).encode())
    if violations:
        found = [
            replace(it, row=it.row if it.row is None else int(places[it.row])) for it in violations
        ]
        remedy = f"`missing_target: drop` in the contract leaves out rows without {contract.target.name}."
        no_target = any(it.column == contract.target.name and it.got == "null" for it in found)
        raise RowsRefused(project.show(project.raw), found, tables.FIRST_ROW, remedy * no_target)
    check_leakage(contract, frame, settings.max_correlation)
    check_usual(contract, frame, settings.max_unusual)
    tables.write_parquet(project.validated, frame[list(contract.header)])
    met = [
        {
            "expectation": item.expectation_config.type,
            "column": item.expectation_config.kwargs.get("column"),
        }
        for item in result.results
    ]
    write_json(project.validation, {"rows": len(frame), "expectations": met})
    dropped = given - len(frame)
    left_out = f"; {dropped} rows without a target dropped" if dropped else ""
    return f"{len(frame)} rows keep all {len(met)} expectations{left_out}"
