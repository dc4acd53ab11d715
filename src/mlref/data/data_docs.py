"""Data Docs: one page for people that shows every expectation of the dataset, first those not met."""

import sys
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from mlref.core.contract import Column, Contract

WORDS = {
    "expect_table_columns_to_match_set": "The columns are {column_set}.",
    "expect_column_values_to_not_be_null": "No value is missing.",
    "expect_column_values_to_be_of_type": "Every value is a {type_}.",
    "expect_column_values_to_be_in_set": "Every value is one of {value_set}.",
    "expect_column_values_to_match_regex": "Every value is a {regex_}.",
    "expect_column_values_to_match_strftime_format": "Every value is in the calendar.",
    "expect_column_values_to_be_between": "Every value is from {min_value:g} to {max_value:g}.",
}
"""Sentence of each expectation of the suite, with its arguments."""

SHOWN = 10
"""Unexpected values of an expectation that are shown."""


@cache
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template("data_docs.html.jinja")


def page(contract: Contract, rows: int, result: Any) -> str:
    """Show a result of Great Expectations, in the order of the contract; the page loads nothing.

    Parameters
    ----------
    rows : int
        Rows of the dataset.
    result : ExpectationSuiteValidationResult
    """
    found: dict[str | None, list[dict[str, Any]]] = {}
    for item in result.results:
        name = item.expectation_config.kwargs.get("column")
        found.setdefault(name, []).append(_told(item))
    columns = {column.name: column for column in contract.columns}
    sections = [
        (name, _about(columns.get(name or ""), name), found[name])
        for name in (None, *contract.keys, *columns)
        if name in found
    ]
    failed = [
        (about, told) for _, about, tolds in sections for told in tolds if not told["success"]
    ]
    return _template().render(
        contract=contract, rows=rows, count=len(result.results), sections=sections, failed=failed
    )


def _about(column: Column | None, name: str | None) -> dict[str, str]:
    if column is None:
        return {"title": name or "The table", "unit": "", "meaning": "" if name is None else "Key."}
    return {"title": column.title, "unit": column.unit or "", "meaning": column.meaning}


def _told(item: Any) -> dict[str, Any]:
    """An expectation in words, and the values that do not meet it."""
    config, result = item.expectation_config, item.result
    given = {
        name: ", ".join(map(_text, value)) if isinstance(value, (list, set)) else value
        for name, value in config.kwargs.items()
    }
    kinds = {"str": "text", "float": "number", "bool": "boolean"}
    given["type_"] = kinds.get(given.get("type_", ""), "")
    given["regex_"] = "day" if r"\d-" in given.get("regex", "") else "whole number"
    known = WORDS.get(config.type)
    if given.get("max_value") == sys.float_info.max:
        above = " above 0" if config.kwargs["min_value"] > 0 else ""
        known = f"Every value is a finite number{above}."
    missing = config.type == "expect_column_values_to_not_be_null"
    values = [] if missing else result.get("partial_unexpected_list") or []
    return {
        "success": item.success,
        "sentence": known.format_map(given) if known else f"{config.type} {config.kwargs}",
        "unexpected": result.get("unexpected_count"),
        "values": list(dict.fromkeys(map(_text, values)))[:SHOWN],
    }


def _text(value: object) -> str:
    """A value as people write it: 1 for a float64 of 1."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)
