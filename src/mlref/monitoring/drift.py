"""Inputs and predictions of one window: what was rejected, missing or unusual, and what has drifted."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mlref.core.contract import Contract
from mlref.core.digits import number
from mlref.core.rows import Array
from mlref.core.task import task_of
from mlref.monitoring.reference import MIDDLES, PREDICTION, Distribution, Reference
from mlref.monitoring.thresholds import SLACK, Limits, Thresholds, chi_square, spread
from mlref.monitoring.windows import Rows
from mlref.prediction_log.monitored import JudgedWindow, RefusedValues

SHOWN = (0.1, 0.5, 0.9)
"""Quantiles of each number that the report draws."""

LARGEST = 2.0
"""How often its threshold a CUSUM may be, so that an alarm ends soon after its cause does."""

OUTSIDE = 0.02
"""Share of values outside of all that training saw, from which another unit is the likely cause."""


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

    @property
    def ratio(self) -> float:
        """Value over threshold."""
        return self.value / self.threshold if self.threshold else np.inf


def findings(window: JudgedWindow) -> list[Finding]:
    """The findings of a window."""
    return [Finding(*one) for one in window.found["findings"]]


class Judgement(NamedTuple):
    """What a window shows, and what the next one carries on."""

    findings: list[Finding]
    facts: dict[str, Any]
    carried: dict[str, Any]


def judge(
    thresholds: Thresholds,
    rows: Rows,
    carried: dict[str, Any],
    smallest: int,
    refused: Sequence[RefusedValues] = (),
) -> Judgement:
    """Judge the inputs and predictions of a window.

    Parameters
    ----------
    thresholds : Thresholds
        Of the model that served.
    rows : Rows
        What was answered.
    carried : dict
        State of the CUSUMs after the window before.
    smallest : int
        Rows that distributions need: of fewer, only shares are judged.
    refused : sequence of RefusedValues
        What was rejected in the same time.
    """
    known = thresholds.reference
    reasons = Counter[str]()
    for one in refused:
        reasons[f"{one.column or 'form'}: {one.reason}"] += one.count
    facts: dict[str, Any] = {"refused": reasons.total()}
    if reasons:
        facts["reasons"] = dict(reasons.most_common(3))
    findings, state = [*_shares(thresholds, rows, refused)], dict(carried)
    if len(rows) >= smallest:
        limits, facts["columns"] = thresholds.at(len(rows)), {}
        for name, trained in known.numbers.items():
            values = np.sort(cells(known.contract, rows, name))
            if len(values):
                facts["columns"][name] = _quantiles(values, SHOWN).tolist()
                findings += _number(name, values, trained, limits, state)
        for name, counts in known.levels.items():
            codes = cells(known.contract, rows, name).astype(int)
            if len(codes):
                value = chi_square(np.bincount(codes, minlength=len(counts)), counts)
                limit = limits["categories"][name]
                findings.append(Finding("categories", name, float(value), limit))
        expected = known.losses()[known.third(rows.value)].mean()
        facts["expected"] = float(task_of(known.contract).score(expected))
    alarming = dict.fromkeys(one.column for one in findings if one.alarm)
    facts["units"] = {name: said for name in alarming if (said := _unit(known, rows, name))}
    return Judgement(findings, facts, state)


def cells(contract: Contract, rows: Rows, column: str) -> Array:
    """What a feature, or the prediction, holds, without what is missing."""
    values = rows.value if column == PREDICTION else rows.features[:, contract.names.index(column)]
    found: Array = values[np.isfinite(values)]
    return found


def accumulate(
    state: dict[str, Any], monitor: str, column: str, moved: Any, limits: Limits
) -> Finding:
    """Take a step of a CUSUM (Page 1954) and of its mirror image where two are given."""
    limit, states = limits[monitor][column], state.get(monitor, {})
    now = np.maximum(0.0, np.add(states.get(column, 0.0), moved) - SLACK[monitor])
    state[monitor] = states | {column: np.minimum(now, LARGEST * limit).tolist()}
    return Finding(monitor, column, float(now.max()), limit)


def _number(
    name: str, values: Array, trained: Distribution, limits: Limits, state: dict[str, Any]
) -> Iterator[Finding]:
    """Compare sorted values with training: their distribution, their spread, and a slow move."""
    size = np.abs(_quantiles(values, MIDDLES) - trained.cells).mean() / trained.std
    yield Finding("size", name, float(size), limits["size"][name])
    wider = spread(values.std(), trained.std)
    yield Finding("spread", name, float(wider), limits["spread"][name])
    moved = (float(values.mean()) - trained.mean) / trained.std
    yield accumulate(state, "slow", name, (moved, -moved), limits)


def _quantiles(values: Array, shares: Any) -> Array:
    """Quantiles of sorted values, each of which is one of them."""
    found: Array = values[np.ceil(np.multiply(shares, len(values))).astype(int) - 1]
    return found


def _shares(
    thresholds: Thresholds, rows: Rows, refused: Sequence[RefusedValues]
) -> Iterator[Finding]:
    """Shares of values that are rejected, missing, unusual or of a level that training never saw."""
    known, contract = thresholds.reference, thresholds.reference.contract
    rejected = Counter(dict.fromkeys((*contract.names, ""), 0))
    for one in refused:
        rejected[one.column if one.column in rejected else ""] += one.count
    asked = len(rows) + rejected.total()
    counted = [("rejected", name, count, asked, 0.0) for name, count in rejected.items()]
    for feature, values in zip(contract.features, rows.features.T, strict=True):
        name = feature.name
        masks = {"missing": (np.isnan(values), known.missing.get(name, 0.0))}
        if feature.expected and name in known.unusual:
            low, high = feature.expected
            masks["unusual"] = (values < low) | (values > high), known.unusual[name]
        if name in known.levels:
            masks["new level"] = np.isin(values, np.flatnonzero(known.levels[name] == 0)), 0.0
        counted += [
            (monitor, name, int(mask.sum()), len(rows), expected)
            for monitor, (mask, expected) in masks.items()
        ]
    broken = ~np.isfinite(rows.value) | (rows.lower > rows.upper)
    yield Finding("health", PREDICTION, broken.sum() / max(len(rows), 1), 0.0)
    for monitor, name, count, among, expected in counted:
        limit = thresholds.exact("inputs", len(counted), among, expected)
        yield Finding(monitor, name, count / max(among, 1), limit)


def _unit(known: Reference, rows: Rows, column: str) -> str:
    """By which factor values are off that training never saw, when there are many."""
    trained = known.numbers.get(column)
    if trained is None or column == PREDICTION or not trained.cells[0] > 0:
        return ""
    (low, high), values = trained.cells[[0, -1]], cells(known.contract, rows, column)
    strange = values[(values > high + (high - low) / 4) | (values < low - (high - low) / 4)]
    if len(strange) < OUTSIDE * len(rows) or not len(strange):
        return ""
    factor, share = number(float(np.median(strange)) / trained.mean), len(strange) / len(rows)
    return f" {share:.0%} of the values are about {factor} times the usual: look for a unit."
