"""Stage 4: judge the ladder of candidates by nested, repeated cross-validation on the training split."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits

from mlref.core import settings
from mlref.core.contract import load
from mlref.core.errors import SettingsError
from mlref.core.rows import Array
from mlref.core.storage import Project, digest, rounded, write_json
from mlref.data.tables import encode, read_parquet, write_csv
from mlref.training import nested
from mlref.training.candidates import BASELINES, estimator
from mlref.training.journal import Journal
from mlref.training.sampling import Setting, count, search

Track = Callable[[list[int]], Iterable[Any]]
"""Wraps the numbers of all fits to show progress; the identity where nobody looks."""

Measure = Callable[[list[nested.Part]], Iterable[tuple[nested.Part, nested.Found]]]
"""Fits parts and tells what they found out."""

RULE = "the simplest candidate within one standard error of the best"
NESTED = (
    "The figures of a candidate are nested: each fold is predicted with the setting that is best on the"
    " other folds, by models fitted without both. The figures of a trial are not."
)


@dataclass(frozen=True)
class Result:
    """What the search has found out about one candidate.

    Parameters
    ----------
    settings : list of dict
        All that were tried.
    plain : ndarray of float64, shape (settings, repeats, K)
        RMSE of each setting on each fold.
    nested : Nested
        The candidate as it is quoted.
    """

    settings: list[Setting]
    plain: Array
    nested: nested.Nested

    @property
    def best(self) -> int:
        """Place of the setting with the lowest RMSE; the first of equals."""
        return int(self.plain.mean(axis=(1, 2)).argmin())


def choose(errors: dict[str, Array]) -> dict[str, Any]:
    """Choose by the one-standard-error rule (Hastie, Tibshirani and Friedman 2009, section 7.10).

    The simplest candidate whose RMSE is within one standard error of the best wins. The standard error
    is the deviation over all folds by the root of the folds of one repeat: repeats reuse the same rows
    and add no evidence.

    Parameters
    ----------
    errors : dict of ndarray, each of shape (repeats, K)
        Nested RMSE of each candidate on each fold, the simplest first.

    Examples
    --------
    >>> choose({"simple": np.full((1, 4), 11.5), "complex": np.array([[9.0, 13.0, 9.0, 13.0]])})
    {'model': 'simple', 'lowest': 'complex', 'standard_error': 1.0, 'limit': 12.0}
    """
    means = {name: float(found.mean()) for name, found in errors.items()}
    lowest = min(means, key=lambda name: means[name])
    error = float(errors[lowest].std() / errors[lowest].shape[1] ** 0.5)
    limit = means[lowest] + error
    model = next(name for name, mean in means.items() if mean <= limit)
    return {"model": model, "lowest": lowest, "standard_error": error, "limit": limit}


def check(knobs: settings.Tune, rows: int) -> None:
    """Refuse what cannot work before anything is fitted.

    Raises
    ------
    SettingsError
        For a ladder without the baselines, a model or an argument that does not exist, too many folds.
    """
    mistakes = []
    if tuple(knobs.candidates)[: len(BASELINES)] != BASELINES:
        mistakes.append(
            f"tune.candidates: begins with {' and '.join(BASELINES)}, which the gate compares with"
        )
    if knobs.folds > rows:
        mistakes.append(f"tune.folds: got {knobs.folds}; allowed: up to {rows}, the training rows")
    if mistakes:
        raise SettingsError("config/params.yaml", mistakes)
    for name, space in knobs.candidates.items():
        estimator(name, dict.fromkeys(space), knobs.seed)


def judge(name: str, knobs: settings.Tune, folds: nested.Folds, measure: Measure) -> Result:
    """Search the space of one candidate and quote the candidate, nested."""
    space, tried, scores = knobs.candidates[name], list[Setting](), list[nested.Scores]()
    choice = count(space, knobs) > 1

    def _score(settings: list[Setting]) -> list[float]:
        found = measure(nested.parts(name, settings, knobs, choice))
        scores.append(nested.gather(found, len(settings), folds))
        tried.extend(settings)
        means: list[float] = nested.plain(scores[-1]).mean(axis=(1, 2)).tolist()
        return means

    search(space, knobs, _score)
    whole = nested.Scores(*(np.concatenate(arrays) for arrays in zip(*scores)))
    return Result(tried, nested.plain(whole), nested.nest(whole, folds))


def fit_all(
    parts: list[nested.Part], journal: Journal, ticks: Iterator[Any], *given: Any
) -> Iterator[tuple[nested.Part, nested.Found]]:
    """Fit the parts that the journal does not know, in the processes that the caller has configured."""
    known = [journal.find(part) for part in parts]
    new = [part for part, found in zip(parts, known) if found is None]
    fresh = Parallel(return_as="generator")(delayed(nested.fit)(part, *given) for part in new)
    for part, found in zip(parts, known):
        if found is None:
            try:
                found = next(fresh)
            except ValueError as error:
                raise SettingsError("config/params.yaml", [f"tune.candidates.{error}"]) from error
            journal.add(part, found)
        for _ in part.settings:
            next(ticks)
        yield part, nested.Found(*found)


def _inputs(project: Project, knobs: settings.Tune) -> list[Any]:
    """What every fit depends on, besides its own setting and folds."""
    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py")))
    files = [digest(project.train), digest(project.contract), digest(code)]
    return [*files, sklearn.__version__, knobs.seed, knobs.folds]


def run(project: Project, track: Track = iter, jobs: int = 1) -> str:
    """Tune on the training split of this clone, in ``jobs`` processes; their number changes no result."""
    contract, knobs = load(project.contract), settings.load(project.params).tune
    features, target = encode(contract, read_parquet(project.train))
    check(knobs, len(target))
    folds = nested.deal(knobs, len(target))
    journal = Journal(project.journal, _inputs(project, knobs))
    sizes = [count(space, knobs) for space in knobs.candidates.values()]
    fits = sum(size * len(nested.parts("", [], knobs, size > 1)) for size in sizes)
    ticks = iter(track(list(range(fits))))

    def _measure(parts: list[nested.Part]) -> Iterator[tuple[nested.Part, nested.Found]]:
        return fit_all(parts, journal, ticks, contract, knobs.seed, features, target, folds)

    # One thread a process: with more, linear algebra adds up in another order, to other last digits.
    # Processes that a kill has orphaned end when they have been idle for a while.
    processes = parallel_config(
        "loky", n_jobs=jobs, inner_max_num_threads=1, idle_worker_timeout=20
    )
    with threadpool_limits(1), processes:
        results = {name: judge(name, knobs, folds, _measure) for name in knobs.candidates}
    next(ticks, None)  # ends the progress bar
    said = write(project, results, target)
    journal.remove()
    return said


def write(project: Project, results: dict[str, Result], target: Array) -> str:
    """Write what was tried, what is quoted of each candidate, and what was chosen."""
    trials: list[dict[str, Any]] = []
    candidates: dict[str, dict[str, Any]] = {}
    for name, result in results.items():
        first = len(trials)
        places, times = np.unique(result.nested.chosen, return_counts=True)
        candidates[name] = {
            "trial": first + result.best,
            "rmse": float(result.nested.errors.mean()),
            "rmse_std": float(result.nested.errors.std()),
            "chosen": {str(first + place): int(n) for place, n in zip(places, times)},
        }
        trials += [
            {"trial": first + place, "model": name, "parameters": setting,
             "rmse": float(errors.mean()), "rmse_std": float(errors.std())}
            for place, (setting, errors) in enumerate(zip(result.settings, result.plain))
        ]  # fmt: skip
    choice = choose({name: result.nested.errors for name, result in results.items()})
    chosen, lowest = candidates[choice["model"]], candidates[choice["lowest"]]
    parameters = trials[chosen["trial"]]["parameters"]
    table = {"actual": target} | {n: result.nested.predictions for n, result in results.items()}
    write_csv(project.out_of_fold, pd.DataFrame(rounded({k: v.tolist() for k, v in table.items()})))
    ladder = [{"model": name, "rmse": rounded(found["rmse"])} for name, found in candidates.items()]
    write_csv(project.candidates, pd.DataFrame(ladder))
    write_json(project.tuning, choice | {
        "parameters": parameters, "trials": trials, "candidates": candidates,
        "best": {name: found["trial"] for name, found in candidates.items()},
        "rule": RULE, "nested": NESTED,
    })  # fmt: skip
    setting = ", ".join(f"{key}={value}" for key, value in parameters.items())
    return (
        f"{len(trials)} trials; {choice['model']}({setting}) wins at RMSE {chosen['rmse']:.1f}: {RULE},"
        f" {choice['lowest']} at {lowest['rmse']:.1f} + {choice['standard_error']:.1f}"
    )
