"""Time the intervals of an evaluation: five metrics, all rows and eight slices, 2,000 resamples.

    python benchmarks/bootstrap.py [--quick] [--rounds N]

Compares, in alternation and in one run, on the same 88 made-up rows and on one core:

- `mlref.evaluation.metrics.bootstrap`, which resamples all metrics at once;
- `scipy.stats.bootstrap` on the same vectorised metrics, one at a time, as it has to be asked;
- the loop that most people write: resample, then call scikit-learn's five metrics.

The three draw the same rows, so they must agree on the intervals. It prints a table of medians and, as
its last line, one JSON object.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
from scipy import stats
from side_by_side import alternate, report, rounds
from sklearn import metrics as sklearn_metrics

from mlref.core.rows import Array
from mlref.core.settings import Bootstrap
from mlref.evaluation.metrics import bootstrap, errors

ROWS = 88
TAIL = 0.025
METRICS: dict[str, Callable[[Array, Array], float]] = {
    "rmse": sklearn_metrics.root_mean_squared_error,
    "mae": sklearn_metrics.mean_absolute_error,
    "r2": sklearn_metrics.r2_score,
    "median_error": sklearn_metrics.median_absolute_error,
    "bias": lambda actual, predicted: float(np.mean(predicted - actual)),
}
Ends = dict[str, tuple[float, float]]
Part = tuple[Array, Array]


def ours(part: Part, resamples: int) -> Ends:
    """All metrics in one pass."""
    knobs = Bootstrap(seed=0, resamples=resamples, confidence=1 - 2 * TAIL)
    found = bootstrap(errors, part, knobs)
    return {name: (interval["lower"], interval["upper"]) for name, interval in found.items()}


def scipy(part: Part, resamples: int) -> Ends:
    """One metric after the other."""

    def _ends(name: str) -> tuple[float, float]:
        found = stats.bootstrap(
            part, lambda actual, predicted, axis: errors(actual, predicted)[name], paired=True,
            vectorized=True, n_resamples=resamples, method="percentile", rng=0,
        )  # fmt: skip
        return tuple(found.confidence_interval)

    return {name: _ends(name) for name in METRICS}


def loop(part: Part, resamples: int) -> Ends:
    """One resample after the other."""
    actual, predicted = part
    generator = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {name: [] for name in METRICS}
    for _ in range(resamples):
        rows = generator.integers(len(actual), size=len(actual))
        for name, metric in METRICS.items():
            drawn[name].append(metric(actual[rows], predicted[rows]))
    return {name: tuple(np.quantile(values, [TAIL, 1 - TAIL])) for name, values in drawn.items()}


def parts() -> list[Part]:
    """All rows, and the eight slices of one column in two and of two columns in three."""
    generator = np.random.default_rng(0)
    actual = generator.normal(150, 75, ROWS)
    predicted = 150 + 0.5 * (actual - 150) + generator.normal(0, 35, ROWS)
    masks = [np.ones(ROWS, dtype=np.bool_)]
    for groups in (2, 3, 3):
        dealt = generator.integers(groups, size=ROWS)
        masks += [dealt == group for group in range(groups)]
    return [(actual[mask], predicted[mask]) for mask in masks]


def check(found: dict[str, list[Ends]]) -> float:
    """Largest difference between an end of two methods, as a share of the interval's width."""
    worst = 0.0
    for places in zip(*found.values(), strict=True):
        for name in METRICS:
            ends = np.array([place[name] for place in places])
            worst = max(worst, float((np.ptp(ends, axis=0) / np.diff(ends[0])).max()))
    return worst


def main() -> None:
    """Measure, print the tables and the JSON line."""
    repeat = rounds(__doc__)
    resamples = 200 if repeat == 1 else 2_000
    samples, found = parts(), {}

    def _timed(method: Callable[[Part, int], Ends]) -> Callable[[], float]:
        def measure() -> float:
            start = time.perf_counter()
            found[method.__name__] = [method(part, resamples) for part in samples]
            return time.perf_counter() - start

        return measure

    seconds = alternate(repeat, ours=_timed(ours), scipy=_timed(scipy), loop=_timed(loop))
    off = check(found)
    if off > 0.01:
        sys.exit(f"The methods disagree: an end differs by {off:.0%} of its interval's width.")
    report(
        "bootstrap",
        seconds,
        ratios={"wall_vs_scipy": ("ours", "scipy"), "wall_vs_loop": ("ours", "loop")},
        figures={"largest_disagreement": off},
        packages=("numpy", "scipy", "scikit-learn"),
    )


if __name__ == "__main__":
    main()
