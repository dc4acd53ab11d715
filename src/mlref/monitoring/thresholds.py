"""Thresholds by simulation: how far the monitors go in quiet months of this table, at this size of window.

A quiet month is 30 windows of rows that come from the distribution that training saw. Reference *and*
windows are drawn anew for each month: with a shared reference the sampling error of the training rows
would count as drift. Columns are drawn independently, which is conservative where they are not.
"""

import json
from functools import cache
from typing import Any

import numpy as np

from mlref.core.rows import Array
from mlref.core.settings import Monitor
from mlref.core.task import task_of
from mlref.monitoring.reference import CELLS, Distribution, Reference
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

REASONS = {
    "size": "Wasserstein distance from training, in training standard deviations",
    "spread": "|log ratio| of the variance to training's",
    "slow": "CUSUM of the mean, slack 0.2 standard deviations",
    "categories": "two-sample chi-square of the counts",
    "bias": "CUSUM of the mean residual, slack 0.1 of its standard deviation",
    "loss": "CUSUM of the log mean loss over what is expected, slack 0.1",
}

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
        self._known: dict[int, Limits] = {}

    def at(self, rows: int) -> Limits:
        """The thresholds for windows of so many rows."""
        rows = min(max(rows, GRID[0]), GRID[-1])
        above = next(size for size in GRID if size >= rows)
        if above == rows:
            return self._on_grid(rows)
        below = GRID[GRID.index(above) - 1]
        share = np.log(rows / below) / np.log(above / below)
        low, high = self._on_grid(below), self._on_grid(above)
        return {
            monitor: {
                column: float(limit ** (1 - share) * high[monitor][column] ** share)
                for column, limit in columns.items()
            }
            for monitor, columns in low.items()
        }

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

    def _on_grid(self, rows: int) -> Limits:
        if rows not in self._known:
            key = json.dumps(self.settings.model_dump(include={"seed", "months", "alarms_a_month"}))
            found = self.database and monitored.limits(self.database, self.digest, key, rows)
            if not found:
                found = simulate(self.reference, rows, self.settings)
                if self.database:
                    monitored.keep_limits(self.database, self.digest, key, rows, found)
            self._known[rows] = found
        return self._known[rows]


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
    draw = np.random.default_rng([settings.seed, rows])
    maxima: dict[str, dict[str, Array]] = {name: {} for name in REASONS}
    for name, known in reference.numbers.items():
        present = 1 - reference.missing.get(name, 0.0) / reference.rows
        sizes = round(reference.rows * present) or 1, round(rows * present) or 1
        for monitor, highest in _of_number(draw, known, *sizes, settings.months):
            maxima[monitor][name] = highest
    for name, counts in reference.levels.items():
        shares = counts / counts.sum()
        before = draw.multinomial(reference.rows, shares, (settings.months, 1))
        after = draw.multinomial(rows, shares, (settings.months, WINDOWS))
        maxima["categories"][name] = chi_square(after, before).max(axis=1)
    if reference.residuals is not None:
        for monitor, highest in _of_truth(draw, reference, rows, settings.months):
            maxima[monitor][""] = highest
    return {
        monitor: _exceeded(columns, _share(settings, monitor))
        for monitor, columns in maxima.items()
        if columns
    }


def _share(settings: Monitor, monitor: str) -> float:
    """The share of quiet months in which a kind of monitor may have an alarm."""
    return settings.alarms_a_month * SHARES[monitor] / REPEATED


def _of_number(
    draw: np.random.Generator, known: Distribution, n: int, rows: int, months: int
) -> list[tuple[str, Array]]:
    """The highest values of a month, by monitor, of a number with this distribution."""
    even = np.full(CELLS, 1 / CELLS)
    before = draw.multinomial(n, even, (months, 1)) / n
    after = draw.multinomial(rows, even, (months, WINDOWS)) / rows
    cells = known.cells
    (mean, std), (means, stds) = _moments(before, cells), _moments(after, cells)
    std[std == 0] = 1.0
    gaps = np.abs(np.cumsum(after - before, axis=2)[:, :, :-1]) @ np.diff(cells)
    path = highest(two_sided(((means - mean) / std).T, SLACK["slow"]))
    return [
        ("size", (gaps / std).max(axis=1)),
        ("spread", spread(stds, std).max(axis=1)),
        ("slow", path),
    ]


def _of_truth(
    draw: np.random.Generator, reference: Reference, rows: int, months: int
) -> list[tuple[str, Array]]:
    """The highest values of a month, by monitor, of residuals as they were out of fold."""
    assert reference.residuals is not None
    residuals = reference.residuals.ravel()
    even = np.full(residuals.size, 1 / residuals.size)
    before = draw.multinomial(reference.rows, even, (months, 1)) / reference.rows
    after = draw.multinomial(rows, even, (months, WINDOWS)) / rows
    loss = task_of(reference.contract).loss(residuals, np.zeros(residuals.size))
    mean, std = _moments(before, residuals)
    bias = ((after @ residuals - mean) / std).T
    worse = np.log((after @ loss) / (before @ loss)).T
    return [
        ("bias", highest(two_sided(bias, SLACK["bias"]))),
        ("loss", highest(cusum(worse, SLACK["loss"]))),
    ]


def _moments(shares: Array, cells: Array) -> tuple[Array, Array]:
    """Means and standard deviations of distributions over cells."""
    means = shares @ cells
    return means, np.sqrt(np.maximum(shares @ cells**2 - means**2, 0))


def _exceeded(maxima: dict[str, Array], share: float) -> dict[str, float]:
    """A threshold for each column, so that any of them is exceeded in this share of the months.

    Each column is exceeded equally often, whatever its distribution.
    """
    values = np.array([*maxima.values()])
    worst = values.argsort(axis=1).argsort(axis=1).max(axis=0)
    rank = int(np.quantile(worst, 1 - share, method="higher"))
    return dict(zip(maxima, np.sort(values, axis=1)[:, rank].tolist(), strict=True))


def spread(stds: Any, std: Any) -> Any:
    """|log variance ratio|, at most 99: that is a window without any variance."""
    return np.minimum(2 * np.abs(np.log(np.maximum(stds, 1e-99) / std)), 99.0)


def step(state: Array, increments: Array) -> Array:
    """One step of a CUSUM (Page 1954); increments come with the slack taken off."""
    return np.maximum(0.0, state + increments)


def cusum(increments: Array, slack: float) -> Array:
    """All steps of a CUSUM from 0, shape (windows, …)."""
    path, state = np.empty_like(increments), np.zeros(increments.shape[1:])
    for place, one in enumerate(increments):
        path[place] = state = step(state, one - slack)
    return path


def two_sided(increments: Array, slack: float) -> Array:
    """The larger of the two CUSUMs, upwards and downwards."""
    return np.maximum(cusum(increments, slack), cusum(-increments, slack))


def highest(path: Array) -> Array:
    """The highest value of each month, from shape (windows, months)."""
    top: Array = path.max(axis=0)
    return top


def chi_square(after: Any, before: Any) -> Array:
    """Two-sample chi-square of counts over the last axis, each sample with its own sampling error."""
    m, n = after.sum(axis=-1, keepdims=True), before.sum(axis=-1, keepdims=True)
    both = after + before
    gaps = (np.sqrt(n / m) * after - np.sqrt(m / n) * before) ** 2
    found: Array = np.divide(gaps, both, out=np.zeros(both.shape), where=both > 0).sum(axis=-1)
    return found
