"""Show what the monitor knows: a table, JSON, a page that loads nothing, and metrics for the service."""

import datetime
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from mlref.core.contract import Contract
from mlref.core.digits import digits, number, show_number
from mlref.monitoring.drift import Finding
from mlref.monitoring.reference import Reference
from mlref.prediction_log.monitored import Alarm, JudgedWindow

SHOWN = 90
"""Windows of a stream that the page draws."""

DRIFT = ("size", "spread", "slow", "categories")
SHARES = ("rejected", "missing", "unusual", "new level", "health")
WIDTH, HEIGHT = 320.0, 90.0
"""Of a picture, in units of its own."""

Line = Sequence[float | None]


def findings(window: JudgedWindow) -> list[Finding]:
    """The findings of a window."""
    return [Finding(*one) for one in window.found["findings"]]


def table(window: JudgedWindow) -> tuple[list[str], list[list[str]]]:
    """Head and rows of what a window of inputs shows, by column: value / threshold, alarms marked."""
    monitors = (*DRIFT, *SHARES)
    cells: dict[str, dict[str, str]] = {}
    for one in findings(window):
        if one.monitor in monitors:
            text = f"{number(one.value)} / {number(one.threshold)}{' ALARM' * one.alarm}"
            cells.setdefault(one.column or "the form", {})[one.monitor] = text
    used = [name for name in monitors if any(name in row for row in cells.values())]
    return ["column", *used], [
        [column, *(row.get(name, "") for name in used)] for column, row in cells.items()
    ]


def truth(window: JudgedWindow, contract: Contract) -> str:
    """Say in a line what the labels of a window show."""
    facts, places = window.found["facts"], digits(contract.target)
    lower, loss, upper = (show_number(one, places) for one in facts["loss"])
    alarms = [one.monitor for one in findings(window) if one.alarm]
    expected = f", expected {show_number(facts['expected'], places)}" if facts["expected"] else ""
    return (
        f"Truth, version {window.version}, {window.rows} labels: loss {loss} [{lower}, {upper}]{expected};"
        f" bias {show_number(facts['bias'], places, '+')}; intervals missed {facts['misses']:.0%};"
        f" median lag {span(facts['lag'])}." + (f" ALARM: {', '.join(alarms)}." if alarms else "")
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
    windows: Sequence[JudgedWindow], alarms: Sequence[Alarm], now: datetime.datetime
) -> dict[str, Any]:
    """What `/metrics` gets, of the newest windows.

    Returns
    -------
    dict
        ``run`` (seconds since 1970), ``drift`` (column to the largest value over threshold), ``loss``,
        ``expected``, ``coverage`` (labels a prediction), ``lag`` and ``labelled`` (seconds), ``alarms`` (by
        severity); None for what is not known.
    """
    newest = {window.stream: window for window in windows}
    inputs, labels = newest.get("inputs"), newest.get("truth")
    drift: dict[str, float] = {}
    for one in findings(inputs) if inputs else ():
        if one.monitor in DRIFT and one.threshold:
            drift[one.column] = max(drift.get(one.column, 0.0), one.value / one.threshold)
    counts = {
        kind: sum(one.rows for one in windows if one.stream == kind) for kind in ("inputs", "truth")
    }
    facts = labels.found["facts"] if labels else {}
    ended = datetime.datetime.fromisoformat(labels.end).timestamp() if labels else None
    return {
        "run": now.timestamp(),
        "drift": drift,
        "loss": facts["loss"][1] if facts else None,
        "expected": inputs.found["facts"].get("expected") if inputs else None,
        "coverage": min(1.0, counts["truth"] / counts["inputs"]) if counts["inputs"] else None,
        "lag": facts.get("lag"),
        "labelled": ended,
        "alarms": {
            kind: sum(one.severity == kind and one.state == "open" for one in alarms)
            for kind in ("page", "ticket")
        },
    }


class Picture(NamedTuple):
    """A small picture over time, as the points of an SVG's lines.

    Parameters
    ----------
    title, note : str
        Above and below it.
    band : tuple of float or None
        Top and height of the training range.
    area, lines, threshold : str or list of str
        Points of what is filled, of full lines, and of a broken one.
    marks : list of float
        Where an alarm is, and ``versions`` where another model begins, from the left.
    low, high : str
        Ends of the vertical axis.
    """

    title: str
    note: str
    band: tuple[float, float] | None
    area: str
    lines: list[str]
    threshold: str
    marks: list[tuple[float, float]]
    versions: list[float]
    low: str
    high: str
    alarm: bool


def picture(
    title: str,
    windows: Sequence[JudgedWindow],
    middle: Line,
    *,
    around: tuple[Line, Line] | None = None,
    threshold: Line = (),
    band: tuple[float, float] | None = None,
    alarms: Sequence[bool] = (),
    note: str = "",
) -> Picture:
    """Draw a line over windows, with what surrounds it, a threshold and a range to compare with."""
    values = [
        value
        for line in (middle, *(around or ()), threshold, band or ())
        for value in line
        if value is not None
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    across = [WIDTH * (place + 0.5) / len(windows) for place in range(len(windows))]

    def up(value: float) -> float:
        """From the top, in the picture's units."""
        return round(4 + (HEIGHT - 8) * (high - value) / (high - low), 1)

    def points(line: Line, order: int = 1) -> str:
        """Points of a line, or backwards."""
        found = [f"{x:.1f},{up(y)}" for x, y in zip(across, line, strict=False) if y is not None]
        return " ".join(found[::order])

    versions = [
        (before + after) / 2
        for before, after, one, two in zip(across, across[1:], windows, windows[1:], strict=False)
        if one.digest != two.digest
    ]
    return Picture(
        title=title,
        note=note,
        band=(up(band[1]), round(up(band[0]) - up(band[1]), 1)) if band else None,
        area=f"{points(around[0])} {points(around[1], -1)}" if around else "",
        lines=[points(middle)],
        threshold=points(threshold),
        marks=[
            (round(x, 1), up(y))
            for x, y, alarm in zip(across, middle, alarms, strict=False)
            if alarm and y is not None
        ],
        versions=versions,
        low=number(low),
        high=number(high),
        alarm=any(alarms[-1:]),
    )


def pictures(windows: Sequence[JudgedWindow], reference: Reference) -> dict[str, list[Picture]]:
    """All pictures of the page: of the truth, then of the inputs, column by column."""
    streams = {
        kind: [one for one in windows if one.stream == kind][-SHOWN:]
        for kind in ("truth", "inputs")
    }
    drawn: dict[str, list[Picture]] = {"truth": [], "inputs": []}
    if labels := streams["truth"]:
        facts = [one.found["facts"] for one in labels]
        ends = [[one["loss"][end] for one in facts] for end in range(3)]
        drawn["truth"].append(
            picture(
                "Loss", labels, ends[1], around=(ends[0], ends[2]),
                threshold=[one["expected"] for one in facts],
                alarms=_alarming(labels, {"loss"}, ""),
                note="with its 95 % interval; broken line: expected from the predictions alone",
            )
        )  # fmt: skip
        drawn["truth"] += [
            _over_threshold(title, labels, monitor, "", note)
            for title, monitor, note in (
                ("Bias", "bias", "CUSUM of the mean residual"),
                ("Loss, accumulated", "loss", "CUSUM of the loss over what is expected"),
                ("Interval misses", "misses", f"share; {1 - reference.coverage:.0%} are promised"),
            )
        ]
    if inputs := streams["inputs"]:
        titles = {one.name: one.title for one in reference.contract.features}
        for name, known in reference.numbers.items():
            found = [
                one.found["facts"].get("columns", {}).get(name) or [None] * 3 for one in inputs
            ]
            ends = [[one[end] for one in found] for end in range(3)]
            worst = _worst(inputs, name)
            drawn["inputs"].append(
                picture(
                    titles.get(name, "Prediction"), inputs, ends[1], around=(ends[0], ends[2]),
                    band=(float(known.cells[5]), float(known.cells[-6])),
                    alarms=_alarming(inputs, {*DRIFT, *SHARES}, name), note=worst,
                )
            )  # fmt: skip
        drawn["inputs"] += [
            _over_threshold(titles[name], inputs, "categories", name, "chi-square of the counts")
            for name in reference.levels
        ]
    return drawn


def _over_threshold(
    title: str, windows: Sequence[JudgedWindow], monitor: str, column: str, note: str
) -> Picture:
    """A monitor's own value beside its threshold."""
    found = [_find(one, monitor, column) for one in windows]
    values = [one.value if one else None for one in found]
    limits = [one.threshold if one else None for one in found]
    marks = [bool(one and one.alarm) for one in found]
    return picture(title, windows, values, threshold=limits, alarms=marks, note=note)


def _find(window: JudgedWindow, monitor: str, column: str) -> Finding | None:
    return next((f for f in findings(window) if (f.monitor, f.column) == (monitor, column)), None)


def _alarming(windows: Iterable[JudgedWindow], monitors: set[str], column: str) -> list[bool]:
    return [
        any(f.alarm and f.monitor in monitors and f.column == column for f in findings(window))
        for window in windows
    ]


def _worst(windows: Sequence[JudgedWindow], column: str) -> str:
    """What comes nearest to its threshold in the last window."""
    found = [f for f in findings(windows[-1]) if f.column == column and f.threshold]
    if not found:
        return ""
    worst = max(found, key=lambda one: one.value / one.threshold)
    return f"{worst.monitor} {worst.value / worst.threshold:.0%} of its threshold"


@cache
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "span": span}
    return environment.get_template("report.html.jinja")


def page(
    windows: Sequence[JudgedWindow],
    alarms: Sequence[Alarm],
    reference: Reference | None,
    notes: Sequence[str],
    now: datetime.datetime,
) -> str:
    """Write the page: what to do first, then the pictures; it loads nothing and has no script.

    Parameters
    ----------
    windows : sequence of JudgedWindow
        Of one size, in the order of their time.
    alarms : sequence of Alarm
        Episodes, the latest last.
    reference : Reference or None
        Of the model of the last window; None where nothing was judged.
    notes : sequence of str
        What was not judged, and why.
    now : datetime
        When the monitor ran.
    """
    drawn = pictures(windows, reference) if reference else {}
    shown = metrics(windows, alarms, now)
    return _template().render(
        title=reference.contract.title if reference else "No window yet",
        now=f"{now:%Y-%m-%d %H:%M} UTC",
        open=[one for one in alarms if one.state == "open"],
        past=[one for one in alarms if one.state != "open"][-10:],
        drawn=drawn,
        facts=shown,
        last=windows[-1] if windows else None,
        slices=next(
            (one.found["facts"]["slices"] for one in reversed(windows) if one.stream == "truth"), {}
        ),
        notes=notes,
        width=WIDTH,
        height=HEIGHT,
    )
