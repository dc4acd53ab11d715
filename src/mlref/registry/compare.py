"""Compare runs: what differs, and whether the rows that both have predicted can tell which is better."""

import io
from collections.abc import Sequence

import pandas as pd

from mlref.core import settings
from mlref.core.digits import interval
from mlref.core.errors import MlrefError
from mlref.core.storage import Project
from mlref.evaluation.compare import score_difference
from mlref.registry.runs import Run, Table, resolve, text
from mlref.tracking import runs as tracking

FEWEST = 10
"""Common rows below which an interval says more about the rows than about the models."""


def compare(project: Project, references: Sequence[str]) -> tuple[Table, list[str]]:
    """Put runs side by side, each against the first.

    Parameters
    ----------
    references : sequence of str
        Ids, names, versions or aliases.

    Returns
    -------
    table
        Parameters and metrics that are not equal in all of them.
    sentences : list of str
        The paired difference of RMSE on the rows that two of them have both predicted.

    Raises
    ------
    MlrefError
        For fewer than two different runs.
    """
    named = [resolve(project, reference) for reference in references]
    runs = {run["run_id"]: run for run in named}
    if len(runs) < 2:
        raise MlrefError("A comparison needs two different runs; `mlref runs list` shows them.")
    labels = _labels(list(runs.values()))
    predictions = [_predictions(tracking.text(project, key, "predictions.csv")) for key in runs]
    table, equal = _differing(list(runs.values()), labels)
    sentences = [equal]
    for label, theirs in zip(labels[1:], predictions[1:], strict=True):
        pair = f"RMSE of {label} minus that of {labels[0]}"
        rows = _common(predictions[0], theirs)
        if len(rows) < FEWEST:
            sentences.append(
                f"{pair} cannot be told: they have predicted {len(rows)} rows in common, and it takes"
                f" {FEWEST}."
            )
            continue
        actual, one, other = (rows[key].to_numpy() for key in ("actual", "value", "value_other"))
        bootstrap = settings.load(project.params).evaluate
        found = score_difference(actual, other, one, bootstrap)
        better = label if found["upper"] < 0 else labels[0] if found["lower"] > 0 else None
        verdict = f"{better} is better" if better else "these rows cannot tell which is better"
        where = f"on the {len(rows)} rows that both have predicted"
        sentences.append(f"{pair}, {where}: {interval(found)}, so {verdict}.")
    return table, sentences


def _labels(runs: list[Run]) -> list[str]:
    """Names of runs, with the start of the id where a name is there twice."""
    names = [tracking.name(run) for run in runs]
    return [
        name if names.count(name) == 1 else f"{name} ({run['run_id'][:8]})"
        for name, run in zip(names, runs, strict=True)
    ]


def _differing(runs: list[Run], labels: list[str]) -> tuple[Table, str]:
    """The parameters and metrics that are not equal in all runs, and how many are."""
    rows = [["run_id", *(run["run_id"][:8] for run in runs)]]
    equal = []
    for kind in ("params", "metrics"):
        names = sorted({name for run in runs for name in run if name.startswith(f"{kind}.")})
        cells = {name: [text(run.get(name)) for run in runs] for name in names}
        differing = [[name, *row] for name, row in cells.items() if len(set(row)) > 1]
        same = sum(set(row) != {"-"} for row in cells.values()) - len(differing)
        rows += differing
        equal.append(f"{same} {kind}")
    return (["", *labels], rows), f"Equal in all: {' and '.join(equal)}."


def _predictions(content: str | None) -> pd.DataFrame:
    """Predictions by row; empty where a run has none."""
    columns = ["row", "actual", "value"]
    if content is None:
        return pd.DataFrame(columns=columns)
    return pd.read_csv(io.StringIO(content), dtype={"row": str})[columns]


def _common(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The rows that two runs have both predicted, with ``value`` and ``value_other``.

    A row whose actual value was corrected in between is another row. Copies of a row are matched in
    their order.
    """
    keys = ["row", "actual"]
    first, second = (table.assign(copy=table.groupby(keys).cumcount()) for table in (one, other))
    return first.merge(second, on=[*keys, "copy"], suffixes=("", "_other"))
