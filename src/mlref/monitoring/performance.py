"""Ground truth of one window: the loss with its interval, and whether it is what the model promised."""

from collections import Counter
from typing import Any

import numpy as np

from mlref.core.rows import Array, Mask
from mlref.core.task import task_of
from mlref.evaluation.slices import slices
from mlref.monitoring.drift import LARGEST, Finding, Judgement
from mlref.monitoring.reference import Reference
from mlref.monitoring.thresholds import SLACK, Thresholds, step
from mlref.monitoring.windows import Rows

TOLERANCE = 3600.0
"""Seconds by which the clocks of two machines may differ."""

TINY = 1e-12
"""In place of a mean loss of 0, which has no logarithm."""


def judge(
    reference: Reference,
    thresholds: Thresholds,
    rows: Rows,
    carried: dict[str, Any],
    slice_rows: int,
) -> Judgement:
    """Judge the labels of a window against the predictions that they are about.

    The loss is compared with what the thirds of the predictions lead to expect, so that a drift of the
    inputs alone is none of the loss.

    Parameters
    ----------
    reference : Reference
        Of the model that served.
    thresholds : Thresholds
        Of this model.
    rows : Rows
        Labelled rows.
    carried : dict
        State of the CUSUMs after the window before.
    slice_rows : int
        Rows that a slice needs to be shown.
    """
    task = task_of(reference.contract)
    losses = task.loss(rows.label, rows.value)
    missed = (rows.label < rows.lower) | (rows.label > rows.upper)
    allowed = thresholds.exact("misses", 1, rows.count, reference.rows * (1 - reference.coverage))
    findings = [Finding("misses", "", float(missed.mean()), allowed)]
    misdated = (rows.observed < rows.predicted - TOLERANCE) | (
        rows.observed > rows.time + TOLERANCE
    )
    limit = thresholds.exact("inputs", 1, rows.count, 0.0)
    findings.append(Finding("dates", "label", float(misdated.mean()), limit))
    state: dict[str, Any] = dict(carried)
    if reference.residuals is not None:
        limits, third = thresholds.at(rows.count), reference.third(rows.value)
        middle, std = reference.residuals.mean(axis=1), reference.residuals.std()
        bias = float((rows.label - rows.value - middle[third]).mean() / std)
        two = step(
            np.array(carried.get("bias", (0.0, 0.0))), np.array((bias, -bias)) - SLACK["bias"]
        )
        findings.append(Finding("bias", "", float(two.max()), limits["bias"][""]))
        state["bias"] = np.minimum(two, LARGEST * limits["bias"][""]).tolist()
        worse = np.log(max(losses.mean(), TINY) / reference.losses()[third].mean())
        one = step(np.array(carried.get("loss", 0.0)), worse - SLACK["loss"])
        findings.append(Finding("loss", "", float(one), limits["loss"][""]))
        state["loss"] = float(np.minimum(one, LARGEST * limits["loss"][""]))
    return Judgement(findings, _facts(reference, rows, losses, missed, slice_rows), state)


def _facts(
    reference: Reference, rows: Rows, losses: Array, missed: Mask, slice_rows: int
) -> dict[str, Any]:
    task = task_of(reference.contract)
    mean, error = losses.mean(), losses.std() / np.sqrt(rows.count)
    # on the log scale, on which a mean loss is nearly symmetric; 1.96 for 95 %
    ends = mean * np.exp(np.array((-1.96, 0, 1.96)) * error / mean) if mean else np.zeros(3)
    expected = reference.losses()[reference.third(rows.value)].mean()
    groups = {
        name: [
            int(chosen.sum()),
            float(task.score(losses[chosen].mean())),
            float(missed[chosen].mean()),
        ]
        for name, chosen in slices(reference.contract, rows.rows)
        if chosen.sum() >= slice_rows
    }
    return {
        "loss": [float(end) for end in task.score(ends)],
        "expected": float(task.score(expected)),
        "bias": float((rows.label - rows.value).mean()),
        "misses": float(missed.mean()),
        "lag": float(np.median(rows.time - rows.predicted)),
        "sources": dict(Counter(rows.source.tolist()).most_common(3)),
        "slices": groups,
    }
