"""Alarms as episodes: opened once with evidence, added to, and closed when it is quiet again."""

import json
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mlref.core.digits import number
from mlref.core.errors import EnvironmentFault
from mlref.core.storage import write_bytes
from mlref.monitoring.drift import Finding, findings
from mlref.monitoring.watched import watched
from mlref.prediction_log.monitored import Alarm, JudgedWindow

BEHIND = ["loss", "expected", "bias", "misses", "sources"]
"""Facts that are evidence of a page."""

TRIES = 3
"""How often a webhook is called before it is given up."""


def evidence(window: JudgedWindow, above: Sequence[Finding], training_rows: int) -> dict[str, Any]:
    """Say what is behind an alarm, the worst finding last: value, threshold, sample sizes, cause, runbook."""
    *others, worst = above
    facts, kind = window.found["facts"], watched()[worst.monitor]
    it = worst.column or ("the request's form" if worst.monitor == "rejected" else "the row")
    side = "above" if facts.get("bias", 0) > 0 else "below"
    cause = kind.cause.format(it=it, side=side)
    shown = BEHIND if kind.severity == "page" else ["reasons"] * (worst.monitor == "rejected")
    return {
        "value": worst.value,
        "threshold": worst.threshold,
        "rows": window.rows,
        "training rows": training_rows,
        "cause": cause[0].upper() + cause[1:] + facts.get("units", {}).get(worst.column, ""),
        "runbook": f"docs/runbooks/{kind.topic}.md",
        "also": [one.monitor for one in others],
    } | {name: facts[name] for name in shown if name in facts}


def follow(
    active: Iterable[Alarm], judged: Iterable[JudgedWindow], training_rows: int
) -> list[Alarm]:
    """Open, extend and close alarms, window by window; returns new and changed ones.

    A model, a size of window, a topic and a column have one alarm at a time: one cause moves several
    monitors.
    """
    known = {(one.digest, one.size, _topic(one), one.column): one for one in active}
    before, closed = dict(known), list[Alarm]()
    for window in judged:
        model, end = (window.digest, window.version, window.size), window.end
        groups = defaultdict[Any, list[Finding]](list)
        for one in findings(window):
            groups[window.digest, window.size, _topic(one), one.column].append(one)
        for key, group in groups.items():
            alarm = known.get(key)
            if above := sorted((one for one in group if one.alarm), key=lambda one: one.ratio):
                monitor, column = above[-1].monitor, above[-1].column
                if not alarm:
                    severity = watched()[monitor].severity
                    alarm = Alarm(*model, monitor, column, severity, "open", end, end, 0, {})
                known[key] = alarm._replace(
                    monitor=monitor, updated=end, windows=alarm.windows + 1,
                    evidence=evidence(window, above, training_rows),
                )  # fmt: skip
            elif alarm:
                because = f"{alarm.because}; quiet" if alarm.because else "quiet"
                closed.append(alarm._replace(state="closed", because=because, updated=end))
                del known[key]
    return [*closed, *(alarm for key, alarm in known.items() if alarm is not before.get(key))]


def _topic(one: Alarm | Finding) -> str:
    return watched()[one.monitor].topic


def superseded(active: Sequence[Alarm], serving: str, version: str) -> list[Alarm]:
    """Close alarms of models that do not serve any more: a new champion is a new reference."""
    because = f"version {version} serves now"
    old = (alarm for alarm in active if alarm.digest != serving)
    return [alarm._replace(state="closed", because=because) for alarm in old]


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
    said = [sentence(alarm) for alarm in alarms]
    if not target.startswith(("http://", "https://")):
        lines = ["# Alarms of mlref monitor", "", *(f"- {one}" for one in said), ""]
        write_bytes(Path(target), "\n".join(lines).encode())
        return
    body = {"text": "\n".join(said), "alarms": [one._asdict() for one in alarms]}
    kind = {"content-type": "application/json"}
    request = urllib.request.Request(target, json.dumps(body).encode(), kind)
    for left in reversed(range(TRIES)):
        try:
            urllib.request.urlopen(request, timeout=10).close()
            return
        except OSError as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # else its socket waits for the garbage collector
            if not left:
                then = "The alarms are stored; `mlref alarms list` shows them."
                raise EnvironmentFault(
                    "The webhook of --notify did not answer", error, then
                ) from error
            time.sleep(pause)
