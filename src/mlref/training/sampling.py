"""Which settings of a candidate are tried: a grid, quasi-random draws, or Optuna's proposals."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn.model_selection import ParameterGrid

from mlref.core.settings import Range, Space, Tune

Setting = dict[str, Any]
"""Arguments of one candidate, by name."""

Measure = Callable[[list[Setting]], list[float]]
"""Gives the cross-validated RMSE of each setting."""


def steps(space: Range) -> list[Any]:
    """Values that a grid takes from a range: its ends, and between them three significant digits.

    Examples
    --------
    >>> steps(Range(low=0.1, high=1.0, log=True, steps=3))
    [0.1, 0.316, 1.0]
    >>> steps(Range(low=1, high=6, integer=True, steps=3))
    [1, 4, 6]
    """
    spaced = np.geomspace if space.log else np.linspace
    inner = [float(f"{x:.3g}") for x in spaced(space.low, space.high, space.steps)[1:-1]]
    values = [space.low, *inner, space.high]
    return sorted({round(value) for value in values}) if space.integer else values


def grid(space: Space) -> list[Setting]:
    """All combinations of the lists and of the ranges' steps; the last parameter by name turns fastest."""
    values = {k: steps(v) if isinstance(v, Range) else v for k, v in space.items()}
    return list(ParameterGrid(values))


def search(space: Space, settings: Tune, measure: Measure) -> None:
    """Measure the settings of one candidate, chosen by the sampler.

    A grid is known before anything is fitted. A quasi-random setting (of a scrambled Halton sequence)
    depends on the seed and on its number. The tree-structured Parzen estimator (Bergstra, Bardenet,
    Bengio and Kégl 2011) proposes each setting by the errors of those before it. Lists alone are always
    a grid: there is nothing between their values to draw.
    """
    if settings.sampler == "grid" or not any(isinstance(v, Range) for v in space.values()):
        measure(grid(space))
        return
    import optuna

    samplers = {
        "tpe": optuna.samplers.TPESampler,
        "quasi_random": partial(optuna.samplers.QMCSampler, qmc_type="halton", scramble=True),
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():  # 2026-11: Optuna 5.0 calls QMCSampler, of 2022, experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=samplers[settings.sampler](seed=settings.seed))
    distributions = {name: _distribution(values) for name, values in space.items()}
    for _ in range(settings.trials):
        trial = study.ask(distributions)
        study.tell(trial, measure([trial.params])[0])


def _distribution(values: Any) -> Any:
    from optuna import distributions as of

    if not isinstance(values, Range):
        return of.CategoricalDistribution(values)
    if values.integer:
        return of.IntDistribution(int(values.low), int(values.high), log=values.log)
    return of.FloatDistribution(values.low, values.high, log=values.log)
