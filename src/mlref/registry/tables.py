"""The registered models, the trail of their changes and a decision of the gate, for a terminal."""

import datetime
from typing import Any

from mlref.bundle.store import ALIASES, Store
from mlref.console import Shown
from mlref.core.digits import interval
from mlref.core.task import LogRegression
from mlref.registry import audit
from mlref.registry.git import warning

MARKS = {"promote": "✔", "keep": "–", "block": "✘"}
TITLES = {
    "rmse": "RMSE", "mae": "MAE", "median_error": "median error", "bias": "bias", "r2": "R²",
    "coverage": "share inside the interval", LogRegression.primary: LogRegression.title,
}  # fmt: skip
"""Names of metrics for people."""


def models(store: Store) -> Shown:
    """Every version, newest first: aliases, error with its interval, verdict and time."""
    head = ["version", "alias", "model", "RMSE", "verdict", "made", "bundle"]
    pointed = {alias: store.alias(alias) for alias in ALIASES}
    return head, [
        [
            str(record["version"]),
            ", ".join(alias for alias, name in pointed.items() if name == record["digest"]),
            record["model"],
            interval(record["metrics"]["rmse"]),
            record["gate"]["verdict"],
            _time(record["created"]),
            record["digest"][:8],
        ]
        for record in reversed(store.records())
    ]


def _time(written: str) -> str:
    return f"{datetime.datetime.fromisoformat(written).astimezone(datetime.UTC):%Y-%m-%d %H:%M:%SZ}"


def trail(store: Store) -> list[str]:
    """Every entry of the audit trail, oldest first, its reason below it."""
    lines = []
    for entry in audit.read(store):
        action = entry["action"] + " (forced)" * entry["forced"]
        who = f"{_time(entry['at'])}  {entry['who']}"
        lines += [f"{who}  {action}  version {entry['version']}", f"    {entry['reason']}"]
    return [line for line in lines if line.strip()]


def explanation(gate: dict[str, Any]) -> Shown:
    """A decision of the gate: each check, its verdict and why."""
    return ["", "check", "reason"], [
        [MARKS[check["verdict"]], check["name"], check["reason"]] for check in gate["checks"]
    ]


def headline(record: dict[str, Any], champion: bool) -> str:
    """Which model was registered, and as what."""
    role = "champion" if champion else "challenger"
    name = f"Model version {record['version']} ({role})"
    return f"{name} · {record['model']} · bundle {record['digest'][:12]}\n"


def evaluation(record: dict[str, Any]) -> Shown:
    """A registered model beside its baselines."""
    metrics = record["metrics"]
    compared = {record["model"]: metrics} | metrics["baselines"]
    scores = [name for name in (LogRegression.primary, "rmse", "mae") if name in metrics]
    return [f"{metrics['rows']} rows of the test set", *(TITLES[score] for score in scores)], [
        [f"  {name}", *(interval(found[score]) for score in scores)]
        for name, found in compared.items()
    ]


def headed(gate: dict[str, Any]) -> str:
    """The verdict of the gate, and how often somebody has looked at the test set by now."""
    look = gate.get("look", 1)
    place = {1: "st", 2: "nd", 3: "rd"}.get(look % 10 * (look % 100 not in (11, 12, 13)), "th")
    again = f" ({look}{place} look at the test set)" if look > 1 else ""
    return f"Verdict: {gate['verdict']}{again}"


def advice(record: dict[str, Any], champion: bool, reasons: bool = True) -> str:
    """The verdict about a registered model, and what a person should know or do next."""
    gate = record["gate"]
    lines = ["", headed(gate), *(f"  {line}" for line in gate["reasons"])] if reasons else []
    if champion != (gate["verdict"] == "promote") and gate["champion"] != record["digest"]:
        lines.append("  Since then the champion was changed: `mlref audit` says by whom and why.")
    if doubt := warning(record):
        lines += ["", f"Warning: {doubt}"]
    return "\n".join([*lines, "", "Next: make serve"])
