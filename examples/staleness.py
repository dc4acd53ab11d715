"""Staleness: how the error of a model grows with its age, and how often to retrain because of it.

    python examples/staleness.py [--seeds N] [--picture FILE]

The relation between features and target drifts day by day and keeps its strength: after a half-life, half
of what a model knows is still true. A ridge learns the rows of the days before it, as many as the training
rows of this clone, and predicts the rows of the days after it.
"""

import argparse
import math
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context

from mlref.console import track
from mlref.core.contract import load
from mlref.core.digits import number
from mlref.core.rows import Array
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project
from mlref.data.tables import encode, read_parquet
from mlref.evaluation import plots

HALF_LIVES = {"4 months": 122, "1 year": 365, "3 years": 1095}
"""Days in which half of the relation is replaced."""
A_DAY = 10
"""Rows that are predicted, and later labelled, a day."""
DAYS = 365
WORSE = 1.05
"""RMSE of a model that is to be replaced, in that of a new one."""


class Table(NamedTuple):
    """What the drift is made of: standardised features, weights, and the error's standard deviation."""

    features: Array
    weights: Array
    error: float


def table(features: Array, target: Array) -> Table:
    """The linear relation of encoded rows."""
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    weights = ridge(scaled, target - target.mean())
    return Table(scaled, weights, float((target - target.mean() - scaled @ weights).std()))


def ridge(features: Array, target: Array, alpha: float = 30.0) -> Array:
    """Weights of a ridge without an intercept."""
    penalty = alpha * np.eye(features.shape[1])
    return np.asarray(
        np.linalg.solve(features.T @ features + penalty, features.T @ target), dtype=np.float64
    )


def ages(of: Table, half_life: float, seed: int) -> Array:
    """RMSE at each day after the training, shape (365,), in that of a model that knows the relation."""
    draw = np.random.default_rng(seed)
    before, kept = len(of.features) // A_DAY, 0.5 ** (1 / half_life)
    strength = (of.features @ of.weights).std()
    weights: Array = of.weights
    path = list[Array]()
    for _ in range(before + DAYS):
        fresh = draw.normal(size=len(weights))
        fresh *= strength / (of.features @ fresh).std()
        weights = kept * weights + math.sqrt(1 - kept**2) * fresh
        weights = weights * (
            strength / (of.features @ weights).std()
        )  # the drift takes no signal away
        path.append(weights)
    rows = of.features[draw.integers(len(of.features), size=(before, A_DAY))]
    truth = np.einsum("dij,dj->di", rows, np.array(path[:before]))
    truth += draw.normal(0, of.error, truth.shape)
    learned = ridge(rows.reshape(-1, rows.shape[2]), truth.ravel())
    wrong = of.features @ (np.array(path[before:]) - learned).T
    excess: Array = np.sqrt(1 + (wrong**2).mean(axis=0) / of.error**2)
    return excess


def curves(of: Table, seeds: int) -> dict[str, Array]:
    """RMSE by half-life and age, in that of a new model; quartiles and median, shape (3, 365)."""
    found = {}
    for name, half_life in HALF_LIVES.items():
        every = np.array([ages(of, half_life, seed) for seed in track(name, range(seeds))])
        found[name] = np.quantile(every / every[:, :7].mean(), (0.25, 0.5, 0.75), axis=0)
    return found


def interval(curve: Array) -> int:
    """The age in days at which the median is WORSE; 365 where it never is."""
    late = np.flatnonzero(curve[1] >= WORSE)
    return int(late[0]) if len(late) else DAYS


def draw(found: dict[str, Array], limit: float, path: Path) -> None:
    """A curve for each half-life, with the ages at which to retrain."""
    with rc_context(plots.STYLE):
        title = "Error of a model by its age, where half of what it knows is lost in …"
        figure, (at,) = plots.panels(title, 1, 8.0, 3.6)
        for (name, (low, middle, high)), colour in zip(found.items(), plots.PALETTE, strict=False):
            days = np.arange(DAYS)
            at.fill_between(days, low, high, color=colour, alpha=0.15, linewidth=0)
            label = f"{name}: retrain every {interval(found[name])} days"
            at.plot(days, middle, color=colour, label=label)
        at.axhline(WORSE, color=plots.GREY, linewidth=0.8, linestyle="--")
        at.axvline(limit, color=plots.GREY, linewidth=0.8, linestyle=":")
        at.text(
            limit + 3, at.get_ylim()[0], " max_age_days", va="bottom", color=plots.GREY, fontsize=8
        )
        at.set(
            xlabel="days since its training", ylabel="RMSE, a new model's = 1", xlim=(0, DAYS - 1)
        )
        at.legend(loc="upper left", bbox_to_anchor=(limit / DAYS + 0.01, 1.02))
        at.set_ylim(top=at.get_ylim()[1] + 0.1)
        figure.savefig(path, metadata={"Software": None})


def main() -> int:
    """Print the retraining intervals, and draw the curves where that is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200, help="drifts of each half-life")
    parser.add_argument("--picture", type=Path, help="PNG file to draw it into")
    options = parser.parse_args()
    project = Project.here()
    found = curves(
        table(*encode(load(project.contract), read_parquet(project.train))), options.seeds
    )
    limit = load_settings(project.params).gate.max_age_days
    print(f"half-life    {WORSE - 1:.0%} worse after    RMSE at {limit:g} days")
    for name, curve in found.items():
        low, middle, high = (f"{number(one)}" for one in curve[:, int(limit)])
        print(f"{name:12} {interval(curve):4} days         {middle} [{low}, {high}]")
    if options.picture:
        draw(found, limit, options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
