"""Stage 4: compare the candidates by nested, repeated cross-validation on the training set."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import sklearn
from joblib import Memory, Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits

from mlref.core.contract import Contract, load
from mlref.core.errors import SettingsError
from mlref.core.numbers import digits, show_number
from mlref.core.rows import Array
from mlref.core.settings import Tune
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, digest, rounded, write_json
from mlref.core.task import task_of
from mlref.data.tables import encode, read_parquet, write_csv
from mlref.training import nested
from mlref.training.candidates import BASELINES, estimator
from mlref.training.sampling import Setting, count, search

Track = Callable[[list[int]], Iterable[Any]]
"""Wraps the numbers of all fits to show progress; the identity where nobody looks."""

Measure = Callable[[list[nested.Part]], Iterable[tuple[nested.Part, nested.Found]]]
"""Fits parts and gives their scores and predictions."""

RULE = "the simplest candidate within one standard error of the best"
NESTED = (
    "The figures of a candidate are nested: each fold is predicted with the setting that is best on the"
    " other folds, by models fitted without both. The figures of a trial are not."
)


class Result(NamedTuple):
    """One candidate after its search."""

    tried: list[Setting]
    plain: Array
    """Score of each setting on each fold, shape (settings, repeats, K)."""
    nested: nested.Nested
    """The candidate as it is quoted."""


def choose(errors: dict[str, Array]) -> dict[str, Any]:
    """Choose by the one-standard-error rule (Hastie, Tibshirani and Friedman 2009, section 7.10).

    The simplest candidate whose score is within one standard error of the best wins. The standard
    error is the deviation over all folds by the root of the folds of one repeat: repeats reuse the
    same rows and add no evidence.

    Parameters
    ----------
    errors : dict of ndarray, each of shape (repeats, K)
        Nested score of each candidate on each fold, the simplest first; lower is better.

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


def check(settings: Tune, rows: int) -> None:
    """Refuse what cannot work before anything is fitted.

    Raises
    ------
    SettingsError
        For candidates without the baselines, a model or an argument that does not exist, too many folds.
    """
    mistakes = []
    if tuple(settings.candidates)[: len(BASELINES)] != BASELINES:
        mistakes.append(
            f"tune.candidates: begins with {' and '.join(BASELINES)}, which the gate compares with"
        )
    if settings.folds > rows:
        mistakes.append(
            f"tune.folds: got {settings.folds}; allowed: up to {rows}, the training rows"
        )
    if mistakes:
        raise SettingsError("config/params.yaml", mistakes)
    for name, space in settings.candidates.items():
        estimator(name, dict.fromkeys(space), settings.seed)


def evaluate(name: str, settings: Tune, folds: nested.Folds, measure: Measure) -> Result:
    """Search the space of one candidate and score the candidate, nested."""
    space, tried, scores = settings.candidates[name], list[Setting](), list[nested.Scores]()
    choice = count(space, settings) > 1

    def _score(batch: list[Setting]) -> list[float]:
        found = measure(nested.parts(name, batch, settings, choice))
        scores.append(nested.gather(found, len(batch), folds))
        tried.extend(batch)
        means: list[float] = nested.plain(scores[-1]).mean(axis=(1, 2)).tolist()
        return means

    search(space, settings, _score)
    whole = nested.Scores(*(np.concatenate(arrays) for arrays in zip(*scores)))
    return Result(tried, nested.plain(whole), nested.nest(whole, folds))


def inputs(project: Project, settings: Tune) -> str:
    """Digest of everything that each fit depends on, besides its own setting and folds."""
    code = [path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py"))]
    files = [project.train.read_bytes(), project.contract.read_bytes()]
    shared = f"{sklearn.__version__} {settings.seed} {settings.folds}".encode()
    return digest(b"\0".join([*code, *files, shared]))


def run(project: Project, track: Track = iter, jobs: int = 1) -> str:
    """Tune on the training set of this clone, in ``jobs`` processes; their number changes no result.

    Each finished part is kept by joblib until the search ends, so that a killed search resumes.
    """
    contract, settings = load(project.contract), load_settings(project.params).tune
    features, target = encode(contract, read_parquet(project.train))
    check(settings, len(target))
    folds = nested.deal(settings, len(target))
    memory = Memory(project.journal / inputs(project, settings), verbose=0)
    given = {
        "contract": contract, "seed": settings.seed, "features": features, "target": target,
        "folds": folds,
    }  # fmt: skip
    fit = memory.cache(nested.fit, ignore=list(given))
    sizes = [count(space, settings) for space in settings.candidates.values()]
    fits = sum(size * len(nested.parts("", [], settings, size > 1)) for size in sizes)
    ticks = iter(track(list(range(fits))))

    def _measure(parts: list[nested.Part]) -> Iterator[tuple[nested.Part, nested.Found]]:
        found = Parallel(return_as="generator")(delayed(fit)(part, **given) for part in parts)
        try:
            for part, result in zip(parts, found, strict=True):
                for _ in part.tried:
                    next(ticks)
                yield part, result
        except ValueError as error:
            raise SettingsError("config/params.yaml", [f"tune.candidates.{error}"]) from error

    # One thread a process: with more, linear algebra adds up in another order, to other last digits.
    processes = parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1)
    with threadpool_limits(1), processes:
        results = {name: evaluate(name, settings, folds, _measure) for name in settings.candidates}
    next(ticks, None)  # ends the progress bar
    summary = write(project, contract, results, target)
    shutil.rmtree(project.journal)
    return summary


def write(project: Project, contract: Contract, results: dict[str, Result], target: Array) -> str:
    """Write what was tried, the score of each candidate, and what was chosen."""
    trials: list[dict[str, Any]] = []
    candidates: dict[str, dict[str, Any]] = {}
    primary, places = task_of(contract).primary, digits(contract.target)

    def _scores(errors: Array) -> dict[str, float]:
        return {primary: float(errors.mean()), f"{primary}_std": float(errors.std())}

    for name, (tried, plain, found) in results.items():
        first, (picked, times) = len(trials), np.unique(found.chosen, return_counts=True)
        candidates[name] = _scores(found.errors) | {
            "trial": first + int(plain.mean(axis=(1, 2)).argmin()),  # the first of equals
            "chosen": {str(first + i): int(n) for i, n in zip(picked, times, strict=True)},
        }
        trials += [
            {"trial": first + i, "model": name, "parameters": setting} | _scores(errors)
            for i, (setting, errors) in enumerate(zip(tried, plain, strict=True))
        ]
    choice = choose({name: result.nested.errors for name, result in results.items()})
    chosen, lowest = candidates[choice["model"]], candidates[choice["lowest"]]
    parameters = trials[chosen["trial"]]["parameters"]
    table = {"actual": target} | {n: result.nested.predictions for n, result in results.items()}
    write_csv(project.out_of_fold, pd.DataFrame(rounded({k: v.tolist() for k, v in table.items()})))
    write_json(project.tuning, choice | {
        "parameters": parameters, "trials": trials, "candidates": candidates,
        "best": {name: found["trial"] for name, found in candidates.items()},
        "rule": RULE, "nested": NESTED,
    })  # fmt: skip
    setting = ", ".join(f"{key}={value}" for key, value in parameters.items())
    best, least, error = (
        show_number(value, places)
        for value in (chosen[primary], lowest[primary], choice["standard_error"])
    )
    return (
        f"{len(trials)} trials; {choice['model']}({setting}) wins at {primary.upper()} {best}: {RULE},"
        f" {choice['lowest']} at {least} + {error}"
    )
