"""Which settings of a candidate are tried: a grid, quasi-random draws, or Optuna's proposals."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection import ParameterGrid

from mlref.core.settings import Range, Space, Tune

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

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


def count(space: Space, settings: Tune) -> int:
    """How many settings of a candidate ``search`` tries."""
    return len(grid(space)) if _enumerated(space, settings) else settings.trials


def search(space: Space, settings: Tune, measure: Measure) -> None:
    """Measure the settings of one candidate, chosen by the sampler.

    A grid, and quasi-random draws (a scrambled Halton sequence, by Optuna), are known before
    anything is fitted: the i-th setting depends on the seed and on i alone. The tree-structured Parzen
    estimator (Bergstra, Bardenet, Bengio and Kégl 2011) proposes each setting by the errors of those before
    it. Lists alone are always a grid: there is nothing between their values to draw.
    """
    if _enumerated(space, settings):
        measure(grid(space))
        return
    study, distributions = _study(settings), _distributions(space)
    if settings.sampler == "quasi_random":
        measure([study.ask(distributions).params for _ in range(settings.trials)])
        return
    for _ in range(settings.trials):
        trial = study.ask(distributions)
        study.tell(trial, measure([trial.params])[0])


def _enumerated(space: Space, settings: Tune) -> bool:
    return settings.sampler == "grid" or not any(isinstance(v, Range) for v in space.values())


def _study(settings: Tune) -> "Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with (
        warnings.catch_warnings()
    ):  # 2026-11: Optuna 5.0 still calls QMCSampler, of 2022, experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = (
            optuna.samplers.TPESampler(seed=settings.seed)
            if settings.sampler == "tpe"
            else optuna.samplers.QMCSampler(qmc_type="halton", scramble=True, seed=settings.seed)
        )
    return optuna.create_study(sampler=sampler)


def _distributions(space: Space) -> "dict[str, BaseDistribution]":
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    def _distribution(values: Any) -> "BaseDistribution":
        if not isinstance(values, Range):
            return CategoricalDistribution(values)
        if values.integer:
            return IntDistribution(int(values.low), int(values.high), log=values.log)
        return FloatDistribution(values.low, values.high, log=values.log)

    return {name: _distribution(values) for name, values in space.items()}
