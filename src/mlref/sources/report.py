"""The page reports/adopt.html: what was measured of each column, in pictures; it loads nothing."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import StrictUndefined, Template

from mlref.core.digits import number
from mlref.sources.columns import Draft
from mlref.sources.table import Table

TEMPLATE = Path(__file__).with_name("adopt.html.jinja")

BINS = 12
"""Ranges of a number, and values of a category, that are drawn."""


def page(table: Table, said: list[str]) -> str:
    """The report as HTML."""
    template = Template(TEMPLATE.read_text("utf-8"), autoescape=True, undefined=StrictUndefined)
    columns = [_shown(name, it, table) for name, it in table.drafts.items()]
    columns.sort(key=lambda it: -(it["relation"] or 0))
    target = Draft({"type": "number"}, "the target", False, table.target)
    shown = _shown(table.roles.target, target, table) | {"means": []}
    html: str = template.render(
        name=Path(table.source["path"]).name, rows=len(table.target), target=table.roles.target,
        columns=[shown, *columns], said=said, bins=BINS,
    )  # fmt: skip
    return html


def _shown(name: str, found: Draft, table: Table) -> dict[str, Any]:
    kind, known = found.declared.get("type"), np.isfinite(found.values)
    shown: dict[str, Any] = {
        "name": name, "kind": kind or "left out", "evidence": found.evidence, "counts": [],
        "left_out": found.left_out, "means": [], "ends": "",
        "relation": round(table.relations.get(name, 0), 2) or None,
    }  # fmt: skip
    if not known.any():
        return shown
    values = found.values[known]
    if kind == "category":
        codes = pd.Series(values.astype(int)).value_counts().index[:BINS]
        places, count = codes.get_indexer(pd.Index(values)), len(codes)
        shown["ends"] = ", ".join(str(found.declared["allowed"][code]) for code in codes)
    else:
        lo, hi = np.quantile(values, [0.005, 0.995])
        count, half = BINS, 0.0
        if kind == "integer" and hi - lo < BINS:  # a bar for each
            lo, hi = np.floor(lo), np.ceil(hi)
            count, half = int(hi - lo) + 1, 0.5
        edges = np.linspace(lo - half, hi + half, count + 1)
        places = np.clip(np.digitize(values, edges) - 1, 0, count - 1)
        shown["ends"] = f"{_end(kind, lo)} to {_end(kind, hi)}"
    groups, bars = pd.Series(table.target[known]).groupby(places), range(count)
    shown["counts"] = groups.size().reindex(bars, fill_value=0).tolist()
    means = groups.mean().reindex(bars)
    shown["means"] = (means - means.min()).fillna(0).tolist()
    return shown


def _end(kind: str | None, value: float) -> str:
    return datetime.date.fromordinal(int(value)).isoformat() if kind == "date" else number(value)
