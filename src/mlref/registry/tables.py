"""The registered models, the trail of their changes and a decision of the gate, for a terminal."""

import datetime
from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Column, Table

from mlref.bundle.store import ALIASES, Store
from mlref.core.digits import interval
from mlref.registry import audit
from mlref.registry.git import warning

MARKS = {"promote": "✔", "keep": "–", "block": "✘"}
Rows = tuple[list[str], list[list[str]]]
"""Head and rows."""


def models(store: Store, now: datetime.datetime) -> Rows:
    """Every version, newest first: aliases, error with its interval, verdict and age."""
    head = ["version", "alias", "model", "RMSE", "verdict", "made", "bundle"]
    pointed = {alias: store.alias(alias) for alias in ALIASES}
    return head, [
        [
            str(record["version"]),
            ", ".join(alias for alias, name in pointed.items() if name == record["digest"]),
            record["model"],
            interval(record["metrics"]["rmse"]),
            record["gate"]["verdict"],
            age(now - datetime.datetime.fromisoformat(record["created"])),
            record["digest"][:8],
        ]
        for record in reversed(store.records())
    ]


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


def trail(store: Store) -> Group:
    """Every entry of the audit trail, oldest first, its reason below it."""
    lines: list[Any] = []
    for entry in audit.read(store):
        at = datetime.datetime.fromisoformat(entry["at"]).astimezone(datetime.UTC)
        action = entry["action"] + " (forced)" * entry["forced"]
        lines.append(
            f"{at:%Y-%m-%d %H:%M:%SZ}  {entry['who']}  {action}  version {entry['version']}"
        )
        if entry["reason"]:
            lines.append(Padding.indent(entry["reason"], 4))
    return Group(*lines)


def explanation(gate: dict[str, Any]) -> Table:
    """A decision of the gate: each check, its verdict and why."""
    columns = (Column(no_wrap=True), Column(no_wrap=True), Column(overflow="fold"))
    table = Table(*columns, show_header=False, box=None, padding=(0, 1), pad_edge=False)
    table.title, table.title_justify = f"Verdict: {gate['verdict']}", "left"
    for check in gate["checks"]:
        table.add_row(MARKS[check["verdict"]], check["name"], check["reason"])
    return table


def headline(record: dict[str, Any], champion: bool) -> str:
    """Which model was registered, and as what."""
    role = "champion" if champion else "challenger"
    name = f"Model version {record['version']} ({role})"
    return f"{name} · {record['model']} · bundle {record['digest'][:12]}\n"


def evaluation(record: dict[str, Any]) -> Rows:
    """A registered model beside its baselines."""
    metrics = record["metrics"]
    compared = {record["model"]: metrics} | metrics["baselines"]
    return [f"{metrics['rows']} rows of the test set", "RMSE", "MAE"], [
        [f"  {name}", interval(found["rmse"]), interval(found["mae"])]
        for name, found in compared.items()
    ]


def verdict(gate: dict[str, Any]) -> str:
    """The verdict of the gate and its reasons."""
    return "\n".join([f"Verdict: {gate['verdict']}", *(f"  {line}" for line in gate["reasons"])])


def advice(record: dict[str, Any], champion: bool, reasons: bool = True) -> str:
    """The verdict about a registered model, and what a person should know or do next."""
    gate = record["gate"]
    lines = ["", verdict(gate)] * reasons
    if champion != (gate["verdict"] == "promote") and gate["champion"] != record["digest"]:
        lines.append("  Since then the champion was changed: `mlref audit` says by whom and why.")
    if doubt := warning(record):
        lines += ["", f"Warning: {doubt}"]
    return "\n".join([*lines, "", "Next: make serve"])
