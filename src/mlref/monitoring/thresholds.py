"""Thresholds by simulation: how far the monitors go in quiet months of this table, at this size of window.

A quiet month is 30 windows of rows that come from the distribution that training saw. Reference *and*
windows are drawn anew for each month: with a shared reference the sampling error of the training rows
would count as drift. Columns are drawn independently, which is conservative where they are not.
"""

import json
from collections import defaultdict
from functools import cache, partial
from typing import Any

import numpy as np

from mlref.core.rows import Array
from mlref.core.settings import Monitor
from mlref.monitoring.reference import CELLS, Reference
from mlref.prediction_log import monitored
from mlref.prediction_log.database import Database

WINDOWS = 30
"""Windows of a month, whatever their size."""

GRID = (50, 200, 1000, 5000)
"""Rows of the windows that are simulated; between them thresholds are interpolated, on log scales."""

SHARES = {
    **dict.fromkeys(("size", "spread", "slow"), 0.2),
    **dict.fromkeys(("inputs", "bias", "loss"), 0.1),
    **dict.fromkeys(("categories", "misses"), 0.05),
}
"""How the false alarms of a month are divided: one in five months on a kind of drift in any column, half
as many on what pages somebody, and as little on what a coarse monitor sees."""

REPEATED = 1.4
"""Alarms of a kind in a month that has any: an unlucky reference alarms more than once. Measured by
benchmarks/alarms.py: 60 months, 15 references, 50 rows."""

SLACK = {"slow": 0.2, "bias": 0.1, "loss": 0.1}
"""What a CUSUM forgives each window: of the mean in training standard deviations, of the residuals' mean
in theirs, of the log of the mean loss. It is above the sampling error of a few hundred training rows, so
that an unlucky reference does not add up to an alarm."""

Limits = dict[str, dict[str, float]]
"""Monitor to column to threshold."""


class Thresholds:
    """The thresholds of one model, simulated when they are first asked for and then kept.

    Parameters
    ----------
    database : Database or None
        Where they are kept; None simulates them for this process alone.
    digest : str
        Of the model.
    reference : Reference
        What is simulated.
    settings : Monitor
        How many false alarms are wanted, and from how many months.
    """

    def __init__(
        self, database: Database | None, digest: str, reference: Reference, settings: Monitor
    ) -> None:
        self.database, self.digest = database, digest
        self.reference, self.settings = reference, settings
        self._on_grid = cache(self._simulated)

    def at(self, rows: int) -> Limits:
        """The thresholds for windows of so many rows."""
        rows = min(max(rows, GRID[0]), GRID[-1])
        below = max(size for size in GRID if size <= rows)
        above = min(size for size in GRID if size >= rows)
        low, high = self._on_grid(below), self._on_grid(above)
        share = np.log(rows / below) / np.log(above / below) if above > below else 0.0
        return {
            monitor: {name: low[monitor][name] ** (1 - share) * high[monitor][name] ** share
                      for name in columns}
            for monitor, columns in low.items()
        }  # fmt: skip

    def exact(self, monitor: str, tests: int, rows: int, known: float) -> float:
        """The largest share of ``rows`` that chance gives, where ``known`` training rows were so.

        Parameters
        ----------
        monitor : str
            Whose share of the false alarms is divided.
        tests : int
            Among how many tests of a window.
        rows : int
            Of the window.
        known : float
            Of the training rows.
        """
        level = _share(self.settings, monitor) / (WINDOWS * max(tests, 1))
        return largest_count(rows, round(known, 1), self.reference.rows, level) / max(rows, 1)

    def _simulated(self, rows: int) -> Limits:
        if self.database is None:
            return simulate(self.reference, rows, self.settings)
        asked = json.dumps(self.settings.model_dump(include={"seed", "months", "alarms_a_month"}))
        same: Any = {"digest": self.digest, "settings": asked, "rows": rows}
        found = monitored.limits(self.database, **same)
        if not found:
            found = simulate(self.reference, rows, self.settings)
            monitored.keep_limits(self.database, **same, limits=found)
        return found


@cache
def largest_count(rows: int, known: float, of: int, level: float) -> int:
    """How many of ``rows`` new rows may be so, when ``known`` of ``of`` were: one in ``level`` has more.

    The prediction of a binomial share of which a sample is known, with Jeffreys' prior.
    """
    from scipy.stats import betabinom  # takes most of a second to import

    return int(betabinom.isf(level, rows, known + 0.5, of - known + 0.5))


def simulate(reference: Reference, rows: int, settings: Monitor) -> Limits:
    """Simulate quiet months and find the thresholds that are crossed as often as wanted.

    Parameters
    ----------
    reference : Reference
        What quiet is.
    rows : int
        Of each window.
    settings : Monitor
        Seed, months, and false alarms a month over all monitors.

    Returns
    -------
    dict
        Monitor to column to threshold.
    """
    drawn = partial(_drawn, np.random.default_rng([settings.seed, rows]), settings.months)
    paths = defaultdict[str, dict[str, Array]](dict)
    for name, known in reference.numbers.items():
        present = 1 - reference.missing.get(name, 0.0) / reference.rows
        sizes = (round(count * present) or 1 for count in (reference.rows, rows))
        before, after = drawn(np.full(CELLS, 1 / CELLS), *sizes)
        (mean, std), (means, stds) = _moments(before, known.cells), _moments(after, known.cells)
        std[std == 0] = 1.0
        gaps = np.abs(np.cumsum(after - before, axis=2)[:, :, :-1]) @ np.diff(known.cells)
        paths["size"][name] = gaps / std
        paths["spread"][name] = spread(stds, std)
        paths["slow"][name] = two_sided((means - mean) / std, SLACK["slow"])
    for name, counts in reference.levels.items():
        before, after = drawn(counts / counts.sum(), reference.rows, rows)
        paths["categories"][name] = chi_square(after * rows, before * reference.rows)
    if reference.residuals is not None:
        cells = reference.residuals.ravel()
        before, after = drawn(np.full(cells.size, 1 / cells.size), reference.rows, rows)
        (mean, std), loss = _moments(before, cells), reference.loss(cells)
        paths["bias"][""] = two_sided((after @ cells - mean) / std, SLACK["bias"])
        paths["loss"][""] = cusum(np.log((after @ loss) / (before @ loss)) - SLACK["loss"])
    return {name: exceeded(columns, _share(settings, name)) for name, columns in paths.items()}


def _share(settings: Monitor, monitor: str) -> float:
    """The share of quiet months in which a kind of monitor may have an alarm."""
    return settings.alarms_a_month * SHARES[monitor] / REPEATED


def _drawn(
    draw: np.random.Generator, months: int, shares: Array, n: int, rows: int
) -> tuple[Array, Array]:
    """Shares of cells in references and windows, shapes (months, 1, cells) and (months, 30, cells)."""
    before = draw.multinomial(n, shares, (months, 1)) / n
    return before, draw.multinomial(rows, shares, (months, WINDOWS)) / rows


def _moments(shares: Array, cells: Array) -> tuple[Array, Array]:
    """Means and standard deviations of distributions over cells."""
    means = shares @ cells
    return means, np.sqrt(np.maximum(shares @ cells**2 - means**2, 0))


def exceeded(paths: dict[str, Array], share: float) -> dict[str, float]:
    """A threshold for each column, so that any of them is exceeded in this share of the months.

    Each column is exceeded equally often, whatever its distribution; ``paths`` have the shape (months, 30).
    """
    values = np.array([path.max(axis=1) for path in paths.values()])
    worst = values.argsort(axis=1).argsort(axis=1).max(axis=0)
    rank = int(np.quantile(worst, 1 - share, method="higher"))
    return dict(zip(paths, np.sort(values, axis=1)[:, rank].tolist(), strict=True))


def spread(stds: Any, std: Any) -> Any:
    """Absolute logarithm of the ratio of variances, at most 99: that is a window without any variance."""
    return np.minimum(2 * np.abs(np.log(np.maximum(stds, 1e-99) / std)), 99.0)


def cusum(increments: Array) -> Array:
    """All steps of CUSUMs from 0 over the last axis (Page 1954); increments come without the slack."""
    total = np.cumsum(increments, axis=-1)
    lowest = np.minimum.accumulate(np.minimum(total, 0.0), axis=-1)
    return total - lowest


def two_sided(increments: Array, slack: float) -> Array:
    """The larger of the two CUSUMs, upwards and downwards."""
    return np.maximum(cusum(increments - slack), cusum(-increments - slack))


def chi_square(after: Any, before: Any) -> Array:
    """Two-sample chi-square of counts over the last axis, each sample with its own sampling error."""
    m, n = after.sum(axis=-1, keepdims=True), before.sum(axis=-1, keepdims=True)
    both = after + before
    gaps = (np.sqrt(n / m) * after - np.sqrt(m / n) * before) ** 2
    found: Array = np.divide(gaps, both, out=np.zeros(both.shape), where=both > 0).sum(axis=-1)
    return found
