"""Labels that people should look at again, because the other rows contradict them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cleanlab.regression.learn import CleanLearning
from cleanlab.regression.rank import get_label_quality_scores
from scipy import stats

from mlref.core import settings
from mlref.core.contract import Column, load
from mlref.core.rows import Array
from mlref.core.storage import Project, read_json, rounded
from mlref.data.folds import Folds, deal
from mlref.data.tables import FIRST_ROW, encode, read_stage, row_ids, write_csv
from mlref.training.candidates import build
from mlref.training.out_of_fold import predict

CHANCE = 0.2
"""A label stands out while at most this share of those so far off would be by chance."""

FOLDS = 5
"""As cleanlab's own."""

SHOWN = 5
"""Labels of the list that are printed too."""

USUAL = 0.67449
"""Median distance of a normal variable from its mean, in standard deviations."""


def issues(
    model: Any, features: Array, target: Array, seed: int, folds: Folds | None = None
) -> pd.DataFrame:
    """Search for labels that the other rows contradict, with cleanlab's cross-validation.

    cleanlab suggests a value for each row by models fitted without it and without the rows that look
    worst. Two of its results are not used, since on labels without a mistake they raise alarms: the
    share of labels that it flags (a fifth), and its uncertainty of each row. See decision 12.

    Parameters
    ----------
    model : estimator
        Unfitted.
    features : ndarray of float64, shape (n, features)
    target : ndarray of float64, shape (n,)
        The labels, target units.
    seed : int
        Decides the folds.
    folds : Folds, optional
        For rows that belong together, which would confirm each other's mistakes. cleanlab deals single
        rows, so its search for the worst ones is left out then.

    Returns
    -------
    DataFrame, shape (n, 6)
        The most doubtful label first; the index is the row's position. ``value`` and ``suggested``, in
        target units; ``quality`` (cleanlab's, 1 is best); ``distance`` between the two, in median
        distances of all rows; ``by_chance``, how many of n sound labels with normal errors would be
        at least so far off; ``stands_out``, by the rule of Benjamini and Hochberg (1995) at a share of
        ``CHANCE``.
    """
    if folds is None:
        found = CleanLearning(model, seed=seed).find_label_issues(features, target, uncertainty=1.0)
        suggested, quality = (
            found[name].to_numpy() for name in ("predicted_label", "label_quality")
        )
    else:
        suggested = predict(model, features, target, folds.pairs())
        quality = get_label_quality_scores(target, suggested, method="residual")
    distance = np.abs(target - suggested)
    distance /= max(float(np.median(distance)), np.finfo(np.float64).tiny)
    chance = 2 * stats.norm.sf(USUAL * distance)
    table = pd.DataFrame({
        "value": target, "suggested": suggested, "quality": quality,
        "distance": distance, "by_chance": len(target) * chance,
        "stands_out": stats.false_discovery_control(chance) <= CHANCE,
    })  # fmt: skip
    return table.sort_values("distance", ascending=False, kind="stable")


def _reason(target: Column, row: Any, count: int) -> str:
    """Why a label is on the list, in words."""
    unit = f" {target.unit}" if target.unit else ""
    side = "above" if row.value > row.suggested else "below"
    return (
        f"{abs(row.value - row.suggested):.4g}{unit} {side} the {row.suggested:.4g} that the other rows"
        f" suggest, {row.distance:.1f} times the usual distance; of {count} sound labels"
        f" {row.by_chance:.1f} would be so far off"
    )


def review(project: Project, output: Path | None = None, listed: int = 20) -> str:
    """Write the review list of this clone, and say what stands out."""
    contract, seed = load(project.contract), settings.load(project.params).tune.seed
    frame, tuning = read_stage(contract, project.validated, "validate"), read_json(project.tuning)
    features, target = encode(contract, frame)
    model = build(contract, tuning["model"], tuning["parameters"], seed)
    grouped = contract.split.by == "group"
    folds = deal(contract, frame, FOLDS, seed) if grouped else None
    table = issues(model, features, target, seed, folds)
    head, names = table[:listed], np.array(row_ids(contract, frame))
    reviewed = pd.DataFrame({
        "row": head.index + FIRST_ROW, "id": names[head.index], "value": head["value"],
        "suggested": rounded(head["suggested"].tolist()), "quality": rounded(head["quality"].tolist()),
        "stands_out": np.where(head["stands_out"], "yes", "no"),
        "reason": [_reason(contract.target, row, len(table)) for row in head.itertuples()],
    })  # fmt: skip
    output = output or project.label_issues
    write_csv(output, reviewed)
    return "\n".join([
        _summary(table),
        *(f"  row {row.row}, {row.value:.6g}: {row.reason}." for row in reviewed[:SHOWN].itertuples()),
        f"The {len(head)} most doubtful → {project.show(output)}; rows are lines of"
        f" {project.show(project.raw)}. Look up where each value came from. Correct what is wrong in the"
        " source, and leave what is right: the model may be what errs.",
    ])  # fmt: skip


def _summary(table: pd.DataFrame) -> str:
    """How many labels stand out, beside how many would by chance."""
    count, standing = len(table), int(table["stands_out"].sum())
    if not standing:
        return f"No label of {count} stands out: chance alone puts as many sound ones as far off."
    chance = table["by_chance"].iloc[standing - 1]
    expected = f"of {count} sound labels {chance:.1f} would be so far off"
    return f"{standing} of {count} labels stand{'s' * (standing == 1)} out; {expected}."
