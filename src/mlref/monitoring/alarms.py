"""Alarms as episodes: opened once with evidence, added to, and closed when it is quiet again."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlref.core.digits import number
from mlref.core.errors import EnvironmentFault
from mlref.core.storage import write_bytes
from mlref.monitoring.drift import Finding
from mlref.monitoring.reference import PREDICTION, Reference
from mlref.monitoring.windows import Rows
from mlref.prediction_log.monitored import Alarm, JudgedWindow

PAGES = ("bias", "loss", "misses")
"""Monitors that wake somebody: the model is wrong. Everything else opens a ticket."""

RUNBOOKS = {
    **dict.fromkeys(PAGES, "performance"),
    **dict.fromkeys(("size", "spread", "slow", "categories"), "drift"),
    **dict.fromkeys(("rejected", "missing", "unusual", "new level", "health", "dates"), "inputs"),
}
"""Monitor to its page under docs/runbooks/."""

CAUSES = {
    "size": "{it} has another distribution than in training: another unit, source or population.",
    "spread": "{it} spreads more or less than in training: a mixture of units, a broken or a new source.",
    "slow": "{it} moves away from training little by little, or has moved: population or instrument.",
    "categories": "The values of {it} are not as common as in training: source or population.",
    "rejected": "Values of {it} break the contract: a client changed its form or its unit.",
    "missing": "{it} is missing more often than in training: a source has failed.",
    "unusual": "{it} is outside of its expected range more often than in training: probably a unit.",
    "new level": "{it} has values that no training row had.",
    "health": "The model answered with no number, or with an interval that is none.",
    "dates": "Labels are dated before their prediction or in the future: a clock or a join is wrong.",
    "bias": "The truth lies {side} the predictions: the level of the target or its unit has changed, or the"
    " labels have.",
    "loss": "The error is larger than the rows lead to expect: the relation has changed, or the labels are"
    " noisy.",
    "misses": "The intervals hold less of the truth than they promise.",
}
"""The likely cause of each alarm."""

Key = tuple[str, str, str, str]
"""Model, size of window, topic and column: of each there is one alarm at a time."""

OUTSIDE = 0.02
"""Share of values outside of all that training saw, from which another unit is the likely cause."""

TRIES = 3
"""How often a webhook is called before it is given up."""


def evidence(
    reference: Reference, finding: Finding, rows: Rows, facts: dict[str, Any]
) -> dict[str, Any]:
    """Say what is behind an alarm: value, threshold, sample sizes, likely cause, runbook page."""
    side = "above" if facts.get("bias", 0) > 0 else "below"
    it = finding.column or ("the request's form" if finding.monitor == "rejected" else "the row")
    cause = CAUSES[finding.monitor].format(it=it, side=side)
    found = {
        "value": finding.value,
        "threshold": finding.threshold,
        "rows": rows.count,
        "training rows": reference.rows,
        "cause": f"{cause[0].upper()}{cause[1:]}{_unit(reference, finding, rows)}",
        "runbook": f"docs/runbooks/{RUNBOOKS[finding.monitor]}.md",
    }
    names: tuple[str, ...] = ("reasons",) if finding.monitor == "rejected" else ()
    if finding.monitor in PAGES:
        names = ("loss", "expected", "bias", "misses", "sources")
    return found | {name: facts[name] for name in names if name in facts}


def _unit(reference: Reference, finding: Finding, rows: Rows) -> str:
    """By which factor values are off that training never saw, when there are many."""
    known = reference.numbers.get(finding.column)
    if known is None or finding.column == PREDICTION or not known.cells[0] > 0:
        return ""
    values = rows.rows[:, reference.contract.names.index(finding.column)]
    reach = known.cells[-1] - known.cells[0]
    strange = values[(values > known.cells[-1] + reach / 4) | (values < known.cells[0] - reach / 4)]
    if len(strange) < OUTSIDE * len(values) or not len(strange):
        return ""
    factor = number(float(np.median(strange)) / known.mean)
    share = len(strange) / len(values)
    return f" {share:.0%} of the values are about {factor} times the usual: look for a unit."


def follow(
    active: Sequence[Alarm],
    judged: Iterable[tuple[JudgedWindow, list[Finding], dict[Any, dict[str, Any]]]],
) -> list[Alarm]:
    """Open, extend and close alarms, window by window.

    Parameters
    ----------
    active : sequence of Alarm
        Those that are open or acknowledged.
    judged : iterable
        New windows in their order, their findings, and the evidence of each alarm by monitor and column.

    Returns
    -------
    list of Alarm
        New and changed ones.
    """
    known = {_key(alarm): alarm for alarm in active}
    closed: list[Alarm] = []
    touched: dict[Key, Alarm] = {}
    for window, findings, evidences in judged:
        for (topic, column), group in _by_topic(findings).items():
            key = (window.digest, window.size, topic, column)
            alarm = known.get(key)
            above = sorted((one for one in group if one.alarm), key=_excess)
            if above:
                *others, worst = above
                found = evidences[worst.monitor, column] | {"also": [one.monitor for one in others]}
                known[key] = touched[key] = _extended(alarm, window, worst, found)
            elif alarm:
                because = f"{alarm.because}; quiet" if alarm.because else "quiet"
                closed.append(alarm._replace(state="closed", because=because, updated=window.end))
                del known[key]
                touched.pop(key, None)
    return [*closed, *touched.values()]


def _by_topic(findings: Iterable[Finding]) -> dict[tuple[str, str], list[Finding]]:
    """One cause moves several monitors of a column, and is one alarm."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((RUNBOOKS[finding.monitor], finding.column), []).append(finding)
    return groups


def _excess(finding: Finding) -> float:
    return finding.value / finding.threshold if finding.threshold else np.inf


def superseded(active: Sequence[Alarm], serving: str, version: str) -> list[Alarm]:
    """Close alarms of models that do not serve any more: a new champion is a new reference."""
    because = f"version {version} serves now"
    old = (alarm for alarm in active if alarm.digest != serving)
    return [alarm._replace(state="closed", because=because) for alarm in old]


def _key(alarm: Alarm) -> Key:
    return alarm.digest, alarm.size, RUNBOOKS[alarm.monitor], alarm.column


def _extended(
    alarm: Alarm | None, window: JudgedWindow, finding: Finding, found: dict[str, Any]
) -> Alarm:
    if alarm:
        return alarm._replace(
            monitor=finding.monitor, updated=window.end, windows=alarm.windows + 1, evidence=found
        )
    severity = "page" if finding.monitor in PAGES else "ticket"
    return Alarm(
        window.digest, window.version, window.size, finding.monitor, finding.column, severity, "open",
        window.end, window.end, 1, found,
    )  # fmt: skip


def sentence(alarm: Alarm) -> str:
    """Say in a line what an alarm is about.

    Examples
    --------
    >>> found = {"value": 0.61, "threshold": 0.4812, "cause": "Another unit.", "runbook": "drift.md"}
    >>> sentence(Alarm("d", "3", "50", "size", "area", "ticket", "open", "", "", 2, found, id=7))[:60]
    'alarm 7 (ticket, version 3): size of area is 0.61, threshold'
    """
    found, where = alarm.evidence, f" of {alarm.column}" if alarm.column else ""
    also = f" (also {', '.join(found['also'])})" if found.get("also") else ""
    windows = "1 window" if alarm.windows == 1 else f"{alarm.windows} windows"
    return (
        f"alarm {alarm.id} ({alarm.severity}, version {alarm.version}): {alarm.monitor}{where}{also} is"
        f" {number(found['value'])}, threshold {number(found['threshold'])}, in {windows}."
        f" {found['cause']} See {found['runbook']}."
    )


def notify(target: str, alarms: Sequence[Alarm], pause: float = 1.0) -> None:
    """Tell of alarms: POST them to a webhook as JSON, or write a file in Markdown, for an issue.

    Raises
    ------
    EnvironmentFault
        When the webhook did not answer, or the file cannot be written; the alarms stay stored.
    """
    if not target.startswith(("http://", "https://")):
        lines = [f"- {sentence(alarm)}" for alarm in alarms]
        write_bytes(Path(target), "\n".join(["# Alarms of mlref monitor", "", *lines, ""]).encode())
        return
    body = {"text": "\n".join(map(sentence, alarms)), "alarms": [one._asdict() for one in alarms]}
    request = urllib.request.Request(
        target, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    for left in reversed(range(TRIES)):
        try:
            with urllib.request.urlopen(request, timeout=10):
                return
        except (OSError, urllib.error.URLError) as error:
            if not left:
                then = "The alarms are stored; `mlref alarms list` shows them."
                raise EnvironmentFault(
                    "The webhook of --notify did not answer", error, then
                ) from error
            time.sleep(pause)
