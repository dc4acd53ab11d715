"""Data Docs: one page for people that shows every expectation of the dataset, first those not met."""

from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mlref.core.contract import Contract

SHOWN = 10
"""Unexpected values of an expectation that are shown."""


def page(contract: Contract, rows: int, result: Any) -> str:
    """Show a result of Great Expectations, in the order of the contract; the page loads nothing.

    Parameters
    ----------
    rows : int
        Rows of the dataset.
    result : ExpectationSuiteValidationResult
    """
    found: dict[str | None, list[Any]] = {}
    for item in result.results:
        found.setdefault(item.expectation_config.kwargs.get("column"), []).append(item)
    columns = {column.name: column for column in contract.columns}
    sections = [
        (name, columns.get(name or ""), found[name])
        for name in (None, *contract.keys, *columns)
        if name in found
    ]
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template("data_docs.html.jinja").render(
        contract=contract,
        rows=rows,
        count=len(result.results),
        sections=sections,
        failed=[
            (name, column, item)
            for name, column, items in sections
            for item in items
            if not item.success
        ],
        unexpected=_unexpected,
    )


def _unexpected(item: Any) -> list[str]:
    """Some of the values that do not meet an expectation, as people write them: 1 for 1.0."""
    values = item.result.get("partial_unexpected_list") or []
    shown = (f"{it:.12g}" if isinstance(it, float) else str(it) for it in values if pd.notna(it))
    return list(dict.fromkeys(shown))[:SHOWN]
