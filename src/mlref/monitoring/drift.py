"""Inputs and predictions of one window: what was rejected, missing or unusual, and what has drifted."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mlref.core.rows import Array
from mlref.core.task import task_of
from mlref.monitoring.reference import MIDDLES, PREDICTION, Distribution, Reference
from mlref.monitoring.thresholds import SLACK, Limits, Thresholds, chi_square, spread, step
from mlref.monitoring.windows import Rows
from mlref.prediction_log.monitored import RefusedValues

SHOWN = (0.1, 0.5, 0.9)
"""Quantiles of each number that the report draws."""

LARGEST = 2.0
"""How often its threshold a CUSUM may be, so that an alarm ends soon after its cause does."""


class Finding(NamedTuple):
    """A monitor's value in one window; above its threshold it is an alarm.

    Parameters
    ----------
    monitor : str
        What is measured, such as ``size`` or ``missing``.
    column : str
        Of what; empty for whole rows.
    value, threshold : float
        In the monitor's own unit.
    """

    monitor: str
    column: str
    value: float
    threshold: float

    @property
    def alarm(self) -> bool:
        """Whether it is one."""
        return self.value > self.threshold


class Judgement(NamedTuple):
    """What a window shows, and what the next one carries on."""

    findings: list[Finding]
    facts: dict[str, Any]
    carried: dict[str, Any]


def judge(
    reference: Reference,
    thresholds: Thresholds,
    rows: Rows,
    refused: Sequence[RefusedValues],
    carried: dict[str, Any],
    smallest: int,
) -> Judgement:
    """Judge the inputs and predictions of a window.

    Parameters
    ----------
    reference : Reference
        Of the model that served.
    thresholds : Thresholds
        Of this model.
    rows : Rows
        What was answered.
    refused : sequence of RefusedValues
        What was rejected in the same time.
    carried : dict
        State of the CUSUMs after the window before.
    smallest : int
        Rows that distributions need: of fewer, only shares are judged.
    """
    findings = [*_shares(reference, thresholds, rows, refused)]
    facts: dict[str, Any] = {"refused": sum(one.count for one in refused)}
    if facts["refused"]:
        reasons = Counter[str]()
        for one in refused:
            reasons[f"{one.column or 'form'}: {one.reason}"] += one.count
        facts["reasons"] = dict(reasons.most_common(3))
    if rows.count < smallest:
        return Judgement(findings, facts, carried)
    limits, slow = thresholds.at(rows.count), dict(carried.get("slow", {}))
    places = {name: place for place, name in enumerate(reference.contract.names)}
    facts["columns"] = {}
    for name, known in reference.numbers.items():
        values = rows.value if name == PREDICTION else rows.rows[:, places[name]]
        values = np.sort(values[np.isfinite(values)])
        if len(values):
            at = np.ceil(np.multiply(SHOWN, len(values))).astype(int) - 1
            facts["columns"][name] = values[at].tolist()
            findings += _number(name, values, known, limits, slow)
    for name, counts in reference.levels.items():
        codes = rows.rows[:, places[name]]
        found = np.bincount(codes[np.isfinite(codes)].astype(int), minlength=len(counts))
        if found.sum():
            value, limit = float(chi_square(found, counts)), limits["categories"][name]
            findings.append(Finding("categories", name, value, limit))
    thirds = np.bincount(reference.third(rows.value), minlength=3)
    expected = float(thirds @ reference.losses()) / rows.count
    facts["expected"] = float(task_of(reference.contract).score(expected))
    return Judgement(findings, facts, {"slow": slow})


def _number(
    name: str, values: Array, known: Distribution, limits: Limits, slow: dict[str, Any]
) -> Iterator[Finding]:
    """Compare sorted values with training: their distribution, their spread, and a slow move."""
    at = np.ceil(MIDDLES * len(values)).astype(int) - 1
    size = float(np.abs(values[at] - known.cells).mean()) / known.std
    yield Finding("size", name, size, limits["size"][name])
    wider = float(spread(values.std(), known.std))
    yield Finding("spread", name, wider, limits["spread"][name])
    moved = (float(values.mean()) - known.mean) / known.std
    limit = limits["slow"][name]
    state = step(np.array(slow.get(name, (0.0, 0.0))), np.array((moved, -moved)) - SLACK["slow"])
    slow[name] = np.minimum(state, LARGEST * limit).tolist()
    yield Finding("slow", name, float(state.max()), limit)


def _shares(
    reference: Reference, thresholds: Thresholds, rows: Rows, refused: Sequence[RefusedValues]
) -> Iterator[Finding]:
    """Shares of values that are rejected, missing, unusual or of a level that training never saw."""
    names = reference.contract.names
    rejected = Counter({name: 0 for name in (*names, "")})
    for one in refused:
        rejected[one.column if one.column in rejected else ""] += one.count
    asked = rows.count + rejected.total()
    counted = [("rejected", name, count, asked, 0.0) for name, count in rejected.items()]
    missing, unusual = np.isnan(rows.rows).sum(axis=0), rows.unusual.sum(axis=0)
    for place, name in enumerate(names):
        known = reference.missing.get(name, 0.0)
        counted.append(("missing", name, int(missing[place]), rows.count, known))
        if name in reference.unusual:
            known = reference.unusual[name]
            counted.append(("unusual", name, int(unusual[place]), rows.count, known))
        if name in reference.levels:
            never = np.flatnonzero(reference.levels[name] == 0)
            count = int(np.isin(rows.rows[:, place], never).sum())
            counted.append(("new level", name, count, rows.count, 0.0))
    broken = ~np.isfinite(rows.value) | (rows.lower > rows.upper)
    yield Finding("health", PREDICTION, float(broken.mean()) if rows.count else 0.0, 0.0)
    for monitor, name, count, among, known in counted:
        limit = thresholds.exact("inputs", len(counted), among, known)
        yield Finding(monitor, name, count / max(among, 1), limit)
