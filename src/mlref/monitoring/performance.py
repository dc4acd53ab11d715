"""Ground truth of one window: the loss with its interval, and whether it is what the model promised."""

from collections import Counter
from typing import Any

import numpy as np

from mlref.core.task import task_of
from mlref.evaluation.slices import slices
from mlref.monitoring.drift import Finding, Judgement, accumulate
from mlref.monitoring.thresholds import Thresholds
from mlref.monitoring.windows import Rows, moment

TOLERANCE = 3600.0
"""Seconds by which the clocks of two machines may differ."""

TINY = 1e-12
"""In place of a mean loss of 0, which has no logarithm."""


def judge(
    thresholds: Thresholds, rows: Rows, carried: dict[str, Any], slice_rows: int
) -> Judgement:
    """Judge the labels of a window against the predictions that they are about.

    The loss is the task's, and compared with what the thirds of the predictions lead to expect, so that a
    drift of the inputs alone is none of the loss.

    Parameters
    ----------
    thresholds : Thresholds
        Of the model that served.
    rows : Rows
        Labelled rows.
    carried : dict
        State of the CUSUMs after the window before.
    slice_rows : int
        Rows that a slice needs to be shown.
    """
    known = thresholds.reference
    task, third = task_of(known.contract), known.third(rows.value)
    residuals = known.scale(rows.label) - known.scale(rows.value)
    losses, expected = known.loss(residuals), known.losses()[third].mean()
    mean, error = losses.mean(), losses.std() / np.sqrt(len(rows))
    # on the log scale, on which a mean loss is nearly symmetric; 1.96 for 95 %
    ends = mean * np.exp(np.array((-1.96, 0, 1.96)) * error / mean) if mean else np.zeros(3)
    missed = (rows.label < rows.lower) | (rows.label > rows.upper)
    misdated = rows.observed < rows.predicted - TOLERANCE
    misdated |= rows.observed > rows.time + TOLERANCE
    allowed = thresholds.exact("misses", 1, len(rows), known.rows * (1 - known.coverage))
    findings = [
        Finding("misses", "", float(missed.mean()), allowed),
        Finding("dates", "label", float(misdated.mean()), thresholds.exact("inputs", 1, len(rows), 0)),
    ]  # fmt: skip
    state = dict(carried)
    if known.residuals is not None:
        limits, middle = thresholds.at(len(rows)), known.residuals.mean(axis=1)
        bias = float((residuals - middle[third]).mean() / known.residuals.std())
        worse = float(np.log(max(mean, TINY) / expected))
        findings.append(accumulate(state, "bias", "", (bias, -bias), limits))
        findings.append(accumulate(state, "loss", "", worse, limits))
    facts = {
        "loss": [float(end) for end in task.score(ends)],
        "expected": float(task.score(expected)),
        "bias": float(residuals.mean()),
        "misses": float(missed.mean()),
        "lag": float(np.median(rows.time - rows.predicted)),
        "made": [moment(rows.predicted.min()), moment(rows.predicted.max())],
        "sources": dict(Counter(rows.source.tolist()).most_common(3)),
        "slices": {
            name: [int(here.sum()), float(task.score(losses[here].mean())), float(missed[here].mean())]
            for name, here in slices(known.contract, rows.features)
            if here.sum() >= slice_rows
        },
    }  # fmt: skip
    return Judgement(findings, facts, state)
