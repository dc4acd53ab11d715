"""Show what the monitor knows: a table, JSON, a page that loads nothing, and metrics for the service."""

import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from mlref.bundle.store import Store
from mlref.console import table
from mlref.core.digits import interval, number
from mlref.core.errors import MlrefError
from mlref.core.storage import Project, write_bytes
from mlref.monitoring.alarms import sentence
from mlref.monitoring.drift import findings
from mlref.monitoring.reference import Reference, reference
from mlref.monitoring.run import Asked, Outcome
from mlref.monitoring.watched import watched
from mlref.prediction_log import monitored
from mlref.prediction_log.database import Database
from mlref.prediction_log.monitored import Alarm, JudgedWindow

SHOWN = 90
"""Windows of a stream that the page draws."""


def document(outcome: Outcome) -> dict[str, Any]:
    """What a run found, for JSON."""
    windows, open_windows, alarms = ([one._asdict() for one in part] for part in outcome[:3])
    found = {"windows": windows, "open_windows": open_windows, "alarms": alarms}
    return found | {"notes": outcome.notes}


def shown(outcome: Outcome) -> Iterator[Any]:
    """What the command prints: sentences and tables."""
    newest = {(one.version, one.stream): one for one in (*outcome.judged, *outcome.unfinished)}
    count = Counter((one.version, one.stream) for one in outcome.judged)
    for kind, window in newest.items():
        yield truth(window) if window.stream == "truth" else inputs(window, count[kind])
    yield from outcome.notes
    if not newest:
        yield "No window is new."
    for alarm in outcome.alarms:
        yield f"ALARM: {sentence(alarm)}" if alarm.state == "open" else f"Over: {sentence(alarm)}"
    if not outcome.alert:
        yield "No alarm."


def inputs(window: JudgedWindow, new: int) -> Any:
    """A table of what the last window of inputs shows, by column: value / threshold, alarms marked."""
    title = (
        f"Inputs and predictions, version {window.version}: new windows {new}; the last, to"
        f" {window.end[:16]} UTC, has {window.rows} rows (value / threshold)"
    )
    cells: dict[str, dict[str, str]] = {}
    for one in findings(window):
        text = f"{number(one.value)} / {number(one.threshold)}{' ALARM' * one.alarm}"
        cells.setdefault(one.column or "the form", {})[one.monitor] = text
    used = [name for name in watched() if any(name in row for row in cells.values())]
    rows = [[column, *(row.get(name, "") for name in used)] for column, row in cells.items()]
    return table(["column", *used], rows, title=title)


def truth(window: JudgedWindow) -> str:
    """Say in a line what the labels of a window show."""
    facts = window.found["facts"]
    loss = interval(dict(zip(("lower", "value", "upper"), facts["loss"])))
    alarms = ", ".join(one.monitor for one in findings(window) if one.alarm)
    expected = f", expected {number(facts['expected'])}" if facts["expected"] else ""
    return (
        f"Truth, version {window.version}, {window.rows} labels: loss {loss}{expected};"
        f" bias {facts['bias']:+.3g}; intervals missed {facts['misses']:.0%};"
        f" median lag {span(facts['lag'])}." + (f" ALARM: {alarms}." if alarms else "")
    )


def span(seconds: float) -> str:
    """A time in the unit that people would choose.

    Examples
    --------
    >>> span(42), span(5400), span(200_000)
    ('42 s', '1.5 h', '2.31 d')
    """
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{number(seconds / length)} {unit}"
    return f"{number(max(seconds, 0))} s"


def metrics(
    windows: Sequence[JudgedWindow], alarms: Sequence[Alarm], now: datetime
) -> dict[str, Any]:
    """What `/metrics` gets, of the newest windows.

    Returns
    -------
    dict
        ``run`` (seconds since 1970), ``drift`` (column to the largest value over threshold), ``loss``,
        ``expected``, ``coverage`` (labels a prediction), ``lag`` and ``labelled`` (seconds), ``alarms`` (by
        severity); None for what is not known.
    """
    newest, rows = {one.stream: one for one in windows}, Counter[str]()
    for one in windows:
        rows[one.stream] += one.rows
    facts = {kind: window.found["facts"] for kind, window in newest.items()}
    labels = facts.get("truth", {})
    judged = findings(newest["inputs"]) if "inputs" in newest else []
    drifted = [one for one in judged if watched()[one.monitor].topic == "drift" and one.threshold]
    waiting = Counter(one.severity for one in alarms if one.state == "open")
    return {
        "run": now.timestamp(),
        "drift": {one.column: one.ratio for one in sorted(drifted, key=lambda one: one.ratio)},
        "loss": labels["loss"][1] if labels else None,
        "expected": facts.get("inputs", {}).get("expected"),
        "coverage": min(1.0, rows["truth"] / rows["inputs"]) if rows["inputs"] else None,
        "lag": labels.get("lag"),
        "labelled": datetime.fromisoformat(newest["truth"].end).timestamp() if labels else None,
        "alarms": {kind: waiting[kind] for kind in ("page", "ticket")},
    }


def picture(
    title: str, windows: Sequence[JudgedWindow], column: str, monitors: Sequence[str], *,
    points: Sequence[Sequence[float | None]] = (), note: str = "", band: Sequence[float] = (),
) -> dict[str, Any]:  # fmt: skip
    """What the template draws of a column over windows.

    Parameters
    ----------
    monitors : sequence of str
        Whose alarms are marked.
    points : sequence of (lower, middle, upper, threshold), optional
        Of each window; else value and threshold of the first monitor.
    band : (lower, upper), optional
        The range in training.
    """
    found = [
        [f for f in findings(one) if f.column == column and f.monitor in monitors]
        for one in windows
    ]
    points = points or [
        (None, f[0].value, None, f[0].threshold) if f else [None] * 4 for f in found
    ]
    seen = [y for point in (*points, band) for y in point if y is not None] or [0.0, 1.0]
    low, high = (min(seen), max(seen)) if max(seen) > min(seen) else (seen[0] - 0.5, seen[0] + 0.5)
    versions = [at for at in range(1, len(windows)) if windows[at].digest != windows[at - 1].digest]
    return {
        "title": title, "note": note, "points": points, "band": band, "low": low, "high": high,
        "alarms": [any(f.alarm for f in one) for one in found], "versions": versions,
    }  # fmt: skip


def pictures(windows: Sequence[JudgedWindow], known: Reference) -> dict[str, list[dict[str, Any]]]:
    """All pictures of the page: of the truth, then of the inputs, column by column."""
    labels, inputs = (
        [one for one in windows if one.stream == kind][-SHOWN:] for kind in ("truth", "inputs")
    )
    promised = f"share outside of the interval; {1 - known.coverage:.0%} is promised"
    interval_ = "with its 95 % interval; broken line: expected from the predictions alone"
    facts = [one.found["facts"] for one in labels]
    truth = [
        picture("Loss", labels, "", ["loss"], note=interval_,
                points=[(*one["loss"], one["expected"]) for one in facts]),
        picture("Bias", labels, "", ["bias"], note="CUSUM of the mean residual"),
        picture("Loss, accumulated", labels, "", ["loss"],
                note="CUSUM of the loss over what is expected"),
        picture("Interval misses", labels, "", ["misses"], note=promised),
    ]  # fmt: skip
    titles = {one.name: one.title for one in known.contract.features}
    columns = [one.found["facts"].get("columns", {}) for one in inputs]
    numbers = [
        picture(titles.get(name, "Prediction"), inputs, name, [*watched()],
                points=[(*one[name], None) if name in one else [None] * 4 for one in columns],
                note=_worst(inputs, name), band=trained.cells[[5, -6]].tolist())
        for name, trained in known.numbers.items()
    ]  # fmt: skip
    categories = [
        picture(titles[name], inputs, name, ["categories"], note="chi-square of the counts")
        for name in known.levels
    ]
    return {"truth": truth if labels else [], "inputs": numbers + categories if inputs else []}


def _worst(windows: Sequence[JudgedWindow], column: str) -> str:
    """What comes nearest to its threshold in the last window."""
    every = itertools.chain.from_iterable(map(findings, windows[-1:]))
    found = [one for one in every if one.column == column and one.threshold]
    worst = max(found, key=lambda one: one.ratio, default=None)
    return f"{worst.monitor} {worst.ratio:.0%} of its threshold" if worst else ""


def page(
    windows: Sequence[JudgedWindow], alarms: Sequence[Alarm], known: Reference | None,
    notes: Sequence[str], now: datetime,
) -> str:  # fmt: skip
    """Write the page: what to do first, then the pictures; it loads nothing and has no script.

    Parameters
    ----------
    windows : sequence of JudgedWindow
        Of one size, in the order of their time.
    alarms : sequence of Alarm
        Episodes, the latest last.
    known : Reference or None
        Of the model of the last window; None where nothing was judged.
    notes : sequence of str
        What was not judged, and why.
    now : datetime
        When the monitor ran.
    """
    labels = {one.stream: one.found["facts"] for one in windows}.get("truth", {})
    return _template().render(
        title=known.contract.title if known else "No window yet",
        now=f"{now:%Y-%m-%d %H:%M} UTC",
        open=[one for one in alarms if one.state == "open"],
        past=[one for one in alarms if one.state != "open"][-10:],
        drawn=pictures(windows, known) if known else {},
        facts=metrics(windows, alarms, now),
        first=windows[0] if windows else None,
        last=windows[-1] if windows else None,
        slices=labels.get("slices", {}),
        notes=notes,
    )


@cache
def _template() -> Template:
    jinja = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    jinja.filters |= {"number": number, "span": span}
    return jinja.get_template("report.html.jinja")


def publish(project: Project, asked: Asked, outcome: Outcome, now: datetime) -> None:
    """Write the page to reports/monitoring, and leave it with the metrics in the log's database.

    Raises
    ------
    EnvironmentFault
        When disk or database refuse; what was there before stays.
    """
    with contextlib.closing(Database.of(project)) as database:
        windows = monitored.windows(database, 2 * SHOWN, size=str(asked.size))
        alarms = monitored.alarms(database)
        html = page(windows, alarms, _reference(project, windows), outcome.notes, now)
        results = json.dumps(metrics(windows, alarms, now))
        monitored.leave(database, now, page=html, metrics=results)
    write_bytes(project.monitoring, html.encode())


def _reference(project: Project, windows: Sequence[JudgedWindow]) -> Reference | None:
    """That of the model of the newest window whose model is still there."""
    for window in reversed(windows):
        with contextlib.suppress(MlrefError):
            return reference(Store(project.store).open(window.digest)[0])
    return None
