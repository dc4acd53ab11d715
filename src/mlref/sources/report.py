"""reports/adopt.html: evidence, distribution and relation to the target of each column; loads nothing."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mlref.core.digits import number
from mlref.core.rows import Array
from mlref.sources.columns import Draft
from mlref.sources.table import Table

BINS = 12
"""Ranges of a number, and values of a category, that are drawn."""


def page(table: Table, said: list[str]) -> str:
    """The report as HTML."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    columns = [_shown(name, it, table) for name, it in table.drafts.items()]
    columns.sort(key=lambda it: -(it["relation"] or 0))
    target = Draft({"type": "number"}, "the target", False, table.target)
    shown = _shown(table.roles.target, target, table) | {"means": []}
    return environment.get_template("adopt.html.jinja").render(
        name=Path(table.source["path"]).name, rows=len(table.target), target=table.roles.target,
        columns=[shown, *columns], said=said, bins=BINS,
    )  # fmt: skip


def _shown(name: str, found: Draft, table: Table) -> dict[str, Any]:
    kind, known = found.declared.get("type"), np.isfinite(found.values)
    shown: dict[str, Any] = {
        "name": name, "kind": kind or "left out", "evidence": found.evidence, "counts": [],
        "left_out": found.left_out, "means": [], "ends": "",
        "relation": round(table.relations.get(name, 0), 2) or None,
    }  # fmt: skip
    if not known.any():
        return shown
    values, target = found.values[known], table.target[known]
    if kind == "category":
        allowed = found.declared["allowed"]
        codes = np.argsort(-np.bincount(values.astype(int)), kind="stable")[:BINS]
        groups = [values == code for code in codes]
        shown["ends"] = ", ".join(str(allowed[code]) for code in codes)
    else:
        lo, hi = np.quantile(values, [0.005, 0.995])
        count, half = BINS, 0.0
        if kind == "integer" and hi - lo < BINS:  # a bar for each
            lo, hi = np.floor(lo), np.ceil(hi)
            count, half = int(hi - lo) + 1, 0.5
        edges = np.linspace(lo - half, hi + half, count + 1)
        places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, count - 1)
        groups = [places == place for place in range(count)]
        shown["ends"] = f"{_end(kind, lo)} to {_end(kind, hi)}"
    shown["counts"] = [int(rows.sum()) for rows in groups]
    shown["means"] = _means(target, groups)
    return shown


def _means(target: Array, groups: list[Any]) -> list[float]:
    means = [
        float(np.nanmean(x)) if np.isfinite(x := target[rows]).any() else np.nan for rows in groups
    ]
    lowest = np.nanmin(means)
    return [0.0 if np.isnan(mean) else float(mean - lowest) for mean in means]


def _end(kind: str | None, value: float) -> str:
    return datetime.date.fromordinal(int(value)).isoformat() if kind == "date" else number(value)
