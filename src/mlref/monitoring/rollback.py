"""After a promotion: the former champion predicts the same rows, and comes back when it is shown better."""

import datetime
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import stats

from mlref.bundle.predictor import Predictor
from mlref.bundle.store import Store
from mlref.core.digits import number
from mlref.core.errors import MlrefError
from mlref.core.rows import Array
from mlref.core.settings import Settings
from mlref.core.storage import Project
from mlref.core.task import task_of
from mlref.monitoring.windows import of_labels
from mlref.prediction_log.database import Database
from mlref.prediction_log.reader import Period, stream_labels
from mlref.registry import audit, promote


class Look(NamedTuple):
    """A comparison of two models on the first rows that were labelled after a promotion.

    Parameters
    ----------
    number, rows : int
        Which look it is, from 1, and on how many rows.
    chance : float
        One-sided p-value of the former model's gain, by a paired t test.
    allowed : float
        What the look may spend of the error.
    """

    number: int
    rows: int
    chance: float
    allowed: float


def looks(present: Array, former: Array, every: int, error: float) -> Iterator[Look]:
    """Look at the losses of two models each time when so many more rows have a label.

    The k-th look spends error · 6 / (π² k²), which over all looks adds up to ``error``. A look depends on
    its rows alone, so that nothing needs to be remembered.

    Parameters
    ----------
    present, former : ndarray of float64, shape (n,)
        Loss of each row, in the order in which the labels came.
    """
    for place in range(1, len(present) // every + 1):
        gain = present[: place * every] - former[: place * every]
        rows, spread, chance = len(gain), gain.std(ddof=1), 1.0
        if spread > 0:
            chance = float(stats.t.sf(gain.mean() * math.sqrt(rows) / spread, rows - 1))
        yield Look(place, rows, chance, error * 6 / (math.pi * place) ** 2)


def run(project: Project, database: Database, settings: Settings) -> str:
    """Take the latest promotion back where the former champion is shown better.

    Returns
    -------
    str
        What was done, or why the two cannot be compared; empty where there is nothing to say.

    Raises
    ------
    EnvironmentFault
        When disk or database cannot be used; the next run goes on.
    """
    store = Store(project.store)
    began, former = audit.reign(store), audit.earlier_champion(store)
    if began is None or former is None or began["action"] != "promote":
        return ""
    try:
        (present, _), (other, record) = store.open("champion"), store.open(former)
        since = datetime.datetime.fromisoformat(began["at"])
        losses, others = _losses(database, present, other, since)
    except MlrefError as error:
        return f"Version {began['version']} cannot be compared with the champion before it: {error}"
    task, spent = task_of(present.contract), settings.act.rollback_error
    for look in looks(losses, others, settings.monitor.smallest_window, spent):
        now, then = (float(task.score(one[: look.rows].mean())) for one in (losses, others))
        if look.chance < look.allowed and now - then >= settings.gate.smallest_gain * now:
            reason = (
                f"on the {look.rows} rows labelled since its promotion, version {began['version']} has"
                f" {task.title} {number(now)} and version {record['version']} has {number(then)} (look"
                f" {look.number}: p = {look.chance:.1g}, allowed {look.allowed:.1g})"
            )
            return f"Rolled back: {reason}. {promote.rollback(project, reason)}"
    return ""


def _losses(
    database: Database, present: Predictor, former: Predictor, since: datetime.datetime
) -> Array:
    """Losses of both models, shape (2, n), on the labelled rows that the present one answered."""
    ours, theirs = present.contract, former.contract
    if ours.target != theirs.target or not {*theirs.names} <= {*ours.names}:
        raise MlrefError("its contract has other columns.")
    period = Period(since, datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1))
    task, losses = task_of(ours), [np.empty((2, 0))]
    for chunk in stream_labels(database, theirs, period=period, digest=present.digest):
        rows = of_labels(chunk)
        values = rows.value, former.predict(rows.features).value
        losses.append(np.array([task.loss(rows.label, value) for value in values]))
    return np.hstack(losses)
