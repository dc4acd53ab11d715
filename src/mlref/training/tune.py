"""Stage 4: compare the candidates by nested, repeated cross-validation on the training set."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from joblib import Memory, Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits

from mlref.console import progress, track
from mlref.core.contract import Contract, load
from mlref.core.digits import places as places_of
from mlref.core.digits import show_number
from mlref.core.errors import SettingsError
from mlref.core.rows import Array
from mlref.core.settings import Range, Tune
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, digest, rounded, write_json
from mlref.core.task import heavy_tail, task_of
from mlref.data.folds import Folds, sample
from mlref.data.tables import encode, read_stage, write_csv
from mlref.training import cost, nested
from mlref.training.candidates import BASELINES, estimator
from mlref.training.sampling import Setting, grid, search

Measure = Callable[[str, list[Setting], list[nested.Part]], list[nested.Found]]
"""Fits settings of a candidate to parts of the rows, and gives their scores and predictions."""

HINT = """
  The target has a heavy tail, which a squared error serves badly: `transform: log` in the contract learns and
  compares its logarithm."""

RULE = "the best of those that beat every simpler candidate"

SURE = 1.96
"""Standard errors beyond which a mean difference counts, at 95 %; the gate asks again by bootstrap."""


def not_beaten(losses: dict[str, Array]) -> dict[str, list[str]]:
    """For each candidate, the simpler ones that it is not shown to beat, in pairs on the same rows.

    Parameters
    ----------
    losses : dict of ndarray, each of shape (n,)
        Out-of-fold loss of each row, the simplest candidate first.

    Examples
    --------
    >>> found = {"simple": [2, 3, 4, 5], "lucky": [2, 2, 4, 5], "better": [1, 1, 2, 3]}
    >>> not_beaten({name: np.array(losses) for name, losses in found.items()})
    {'simple': [], 'lucky': ['simple'], 'better': []}
    """
    names = [*losses]
    return {
        name: [other for other in names[:place] if not _beats(losses[name], losses[other])]
        for place, name in enumerate(names)
    }


def _beats(one: Array, other: Array) -> bool:
    difference = one - other
    return bool(difference.mean() + SURE * difference.std() / len(difference) ** 0.5 < 0)


def at_edge(tried: list[Setting], best: Setting) -> list[str]:
    """Numbers of the best setting with nothing tried beyond them, such as ``alpha=100``.

    Only where three values and more were tried, and never 0 or 1, where most parameters end themselves.

    Examples
    --------
    >>> at_edge([{"alpha": alpha} for alpha in (1, 10, 100)], {"alpha": 100})
    ['alpha=100']
    """
    found = []
    for name, value in best.items():
        numbers = {it for setting in tried if isinstance(it := setting[name], (int, float))}
        edges = {min(numbers), max(numbers)} - {0, 1} if len(numbers) > 2 else ()
        found += [f"{name}={value}"] * (value in edges)
    return found


def check(settings: Tune) -> None:
    """Refuse candidates without the baselines, and models or arguments that do not exist."""
    if tuple(settings.candidates)[: len(BASELINES)] != BASELINES:
        names = " and ".join(BASELINES)
        mistake = f"tune.candidates: begins with {names}, which the gate compares with"
        raise SettingsError("config/params.yaml", [mistake])
    for name, space in settings.candidates.items():
        estimator(name, dict.fromkeys(space), settings.seed)


def evaluate(name: str, settings: Tune, folds: list[Folds], measure: Measure) -> nested.Result:
    """Search the space of one candidate and score the candidate, nested."""
    space, tried, found = settings.candidates[name], list[Setting](), list[nested.Found]()
    choice = any(isinstance(values, Range) or len(values) > 1 for values in space.values())
    parts = nested.parts(settings, folds, choice)

    def _score(batch: list[Setting]) -> list[float]:
        found.append(nested.gather(parts, measure(name, batch, parts), folds))
        tried.extend(batch)
        means: list[float] = nested.plain(found[-1][0]).mean(axis=(1, 2)).tolist()
        return means

    search(space, settings, _score)
    errors, predictions = map(np.concatenate, zip(*found))
    return nested.nest(tried, errors, predictions, folds)


def inputs(project: Project, settings: Tune) -> str:
    """Digest of everything that each fit depends on, besides its own setting and folds."""
    files = [*sorted(Path(__file__).parents[1].rglob("*.py")), project.train, project.contract]
    shared = f"{sklearn.__version__} {settings.seed} {settings.folds} {settings.rows}".encode()
    return digest(b"\0".join([shared, *(path.read_bytes() for path in files)]))


def afford(contract: Contract, settings: Tune, frame: pd.DataFrame) -> Tune:
    """Leave out the candidates that are too slow or too large, and tell what a large table costs."""
    features, target = encode(contract, frame)
    first = {name: grid(space)[0] for name, space in settings.candidates.items()}
    found = cost.costs(contract, settings, first, features, target)
    left_out = {name for name, one in found.items() if one.refusal}
    if len(frame) > cost.LARGE or left_out:
        for line in cost.describe(contract, settings, first, found, features, target):
            progress(line)
    kept = {name: space for name, space in settings.candidates.items() if name not in left_out}
    return settings.model_copy(update={"candidates": kept})


def run(project: Project, jobs: int = 1) -> str:
    """Tune on the training set of this clone, in ``jobs`` processes; their number changes no result.

    Each finished part is kept by joblib until the search ends, so that a killed search resumes.

    Raises
    ------
    SettingsError
        For candidates or settings of theirs that cannot work.
    DataError
        For more folds than there are rows, groups or times.
    """
    contract, settings = load(project.contract), load_settings(project.params).tune
    check(settings)
    frame = read_stage(contract, project.train, "split")
    settings = afford(contract, settings, frame)
    frame = sample(frame, settings.rows, settings.seed)
    features, target = encode(contract, frame)
    folds = nested.deal(settings, contract, frame)
    data = nested.Data(contract, features, target, folds, settings.seed)
    memory = Memory(project.journal / inputs(project, settings), verbose=0)
    fit = delayed(memory.cache(nested.fit, ignore=["data"]))

    def _measure(name: str, tried: list[Setting], parts: list[nested.Part]) -> list[nested.Found]:
        fits = (fit(name, tried, part, data) for part in parts)
        return list(track(f"tune {name}", Parallel(return_as="generator")(fits), len(parts)))

    # One thread a process: with more, linear algebra adds up in another order, to other last digits.
    alone = {"n_jobs": jobs, "inner_max_num_threads": 1}
    try:
        with threadpool_limits(1), parallel_config("loky", **alone):
            results = {
                name: evaluate(name, settings, folds, _measure) for name in settings.candidates
            }
    except ValueError as error:  # scikit-learn's word for a setting that it does not take
        raise SettingsError("config/params.yaml", [f"tune: {error}"]) from error
    summary = write(project, contract, results, target)
    shutil.rmtree(project.journal)
    return summary


def write(
    project: Project, contract: Contract, results: dict[str, nested.Result], target: Array
) -> str:
    """Write what was tried, the score of each candidate, and what was chosen."""
    trials: list[dict[str, Any]] = []
    candidates: dict[str, dict[str, Any]] = {}
    task = task_of(contract)
    primary = task.primary

    def _scores(errors: Array) -> dict[str, float]:
        return {primary: float(errors.mean()), f"{primary}_std": float(errors.std())}

    for name, found in results.items():
        first = len(trials)
        trials += [
            {"trial": first + i, "model": name, "parameters": setting} | _scores(errors)
            for i, (setting, errors) in enumerate(zip(found.tried, found.plain, strict=True))
        ]
        best = int(found.plain.mean(axis=(1, 2)).argmin())  # the first of equals
        candidates[name] = _scores(found.errors) | {
            "trial": first + best,
            "chosen": Counter((first + found.chosen).ravel().tolist()),
            "at_edge": at_edge(found.tried, found.tried[best]),
        }
    table = {"actual": target} | {name: found.predictions for name, found in results.items()}
    columns = rounded({name: column.tolist() for name, column in table.items()})
    predicted = pd.DataFrame(columns).dropna()
    write_csv(project.out_of_fold, predicted)
    actual = predicted.pop("actual").to_numpy()
    losses = {str(name): task.loss(actual, predicted[name].to_numpy()) for name in predicted}
    for name, simpler in not_beaten(losses).items():
        candidates[name]["does_not_beat"] = simpler
    order = sorted(candidates, key=lambda name: candidates[name][primary])
    lowest, model = order[0], next(name for name in order if not candidates[name]["does_not_beat"])
    parameters: Setting = trials[candidates[model]["trial"]]["parameters"]
    choice = {"model": model, "parameters": parameters, "rule": RULE, "lowest": lowest}
    write_json(project.tuning, choice | {"trials": trials, "candidates": candidates})
    setting = ", ".join(f"{key}={value}" for key, value in parameters.items())
    places = places_of(candidates[model][primary], 3)
    score, least = (show_number(candidates[name][primary], places) for name in (model, lowest))
    said = f"{len(trials)} trials; {model}({setting}) wins at {primary.upper()} {score}: {RULE}"
    if lowest != model:
        others = " and ".join(candidates[lowest]["does_not_beat"])
        said += f"; {lowest} at {least} is not shown to beat {others}"
    for name, candidate in candidates.items():
        for edge in candidate["at_edge"]:
            said += (
                f"\n  {name} is best with {edge}, the last value that was tried: widen its range."
            )
    return said + (HINT if contract.target.transform == "none" and heavy_tail(target) else "")
