"""The registered models, and the trail of their changes, as tables for a terminal."""

import datetime
from typing import Any

from rich.table import Column, Table

from mlref.bundle.store import ALIASES, Store
from mlref.registry import audit

MARKS = {"promote": "✔", "keep": "–", "block": "✘"}


def models(store: Store, now: datetime.datetime) -> Table:
    """Every version, newest first: aliases, error with its interval, verdict and age."""
    table = _table("version", "alias", "model", "RMSE", "verdict", "made", "bundle")
    pointed = {alias: store.alias(alias) for alias in ALIASES}
    for record in reversed(store.records()):
        table.add_row(
            str(record["version"]),
            ", ".join(alias for alias, name in pointed.items() if name == record["digest"]),
            record["model"],
            "{value:.1f} [{lower:.1f}, {upper:.1f}]".format(**record["metrics"]["rmse"]),
            record["gate"]["verdict"],
            age(now - datetime.datetime.fromisoformat(record["created"])),
            record["digest"][:8],
        )
    return table


def age(span: datetime.timedelta) -> str:
    """A span of time in its largest unit.

    Examples
    --------
    >>> age(datetime.timedelta(days=3, hours=7)), age(datetime.timedelta(seconds=60))
    ('3 d', '1 min')
    """
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if count := int(span.total_seconds() // seconds):
            return f"{count} {unit}"
    return "now"


def trail(store: Store) -> Table:
    """Every line of the audit trail, oldest first."""
    table = _table("when", "who", "what", "version", "why")
    for entry in audit.read(store):
        what = entry["action"] + " (forced)" * entry["forced"]
        when = entry["at"].removesuffix("+00:00").replace("T", " ")
        table.add_row(when, entry["who"], what, str(entry["version"]), entry["reason"])
    return table


def explanation(gate: dict[str, Any]) -> Table:
    """A decision of the gate: each check, what it asks for and why."""
    table = _table("check", "", "reason")
    table.title, table.title_justify = f"Verdict: {gate['verdict']}", "left"
    for check in gate["checks"]:
        table.add_row(check["name"], MARKS[check["verdict"]], check["reason"])
    return table


def _table(*header: str) -> Table:
    """A plain table; on a narrow terminal the cells with several words take several lines."""
    folded = ("alias", "model", "reason", "why")
    columns = [Column(name, overflow="fold", no_wrap=name not in folded) for name in header]
    return Table(*columns, box=None, padding=(0, 1), pad_edge=False)
