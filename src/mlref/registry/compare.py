"""Compare runs: what differs, and whether the rows that both have predicted can tell which is better."""

import io
from collections.abc import Sequence

import pandas as pd

from mlref.console import Shown
from mlref.core import contract, settings
from mlref.core.digits import interval
from mlref.core.errors import MlrefError
from mlref.core.storage import Project
from mlref.core.task import task_of
from mlref.evaluation.compare import score_difference
from mlref.registry.runs import Run, resolve, text
from mlref.tracking import runs as tracking

FEWEST = 10
"""Common rows below which an interval says more about the rows than about the models."""
KEYS = ["row", "actual"]
"""A row whose actual value was corrected in between is another row."""


def compare(project: Project, references: Sequence[str]) -> tuple[Shown, list[str]]:
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
        The paired difference of the primary score on the rows that two of them have both predicted.

    Raises
    ------
    MlrefError
        For fewer than two different runs.
    """
    runs = resolve(project, tracking.search(project), references)
    if len(runs) < 2:
        raise MlrefError("A comparison needs two different runs; `mlref runs list` shows them.")
    table, equal = _differing(runs)
    task = task_of(contract.load(project.contract))
    (first, one), *others = [(run["run_name"], _predictions(project, run)) for run in runs]
    sentences = [equal]
    for name, other in others:
        pair = f"{task.title} of {name} minus that of {first}"
        rows = one.merge(other, on=KEYS, suffixes=("", "_other"))
        if len(rows) < FEWEST:
            sentences.append(
                f"{pair} cannot be told: they have predicted {len(rows)} rows in common, and it takes"
                f" {FEWEST}."
            )
            continue
        actual, here, there = (rows[key].to_numpy() for key in ("actual", "value", "value_other"))
        found = score_difference(actual, there, here, settings.load(project.params).evaluate, task)
        better = name if found["upper"] < 0 else first if found["lower"] > 0 else None
        verdict = f"{better} is better" if better else "these rows cannot tell which is better"
        where = f"on the {len(rows)} rows that both have predicted"
        sentences.append(f"{pair}, {where}: {interval(found)}, so {verdict}.")
    return table, sentences


def _differing(runs: list[Run]) -> tuple[Shown, str]:
    """The parameters and metrics that are not equal in all runs, and how many are."""
    names = sorted(name for name in runs[0] if name.startswith(("params.", "metrics.")))
    cells = {name: [text(run[name]) for run in runs] for name in names}
    cells = {name: row for name, row in cells.items() if set(row) != {"-"}}
    rows = [[name, *row] for name, row in cells.items() if len(set(row)) > 1]
    ids = ["run_id", *(run["run_id"][:8] for run in runs)]
    head = ["", *(run["run_name"] for run in runs)]
    equal = f"Equal in all: {len(cells) - len(rows)} parameters and metrics."
    return (head, [ids, *rows]), equal


def _predictions(project: Project, run: Run) -> pd.DataFrame:
    """Predictions by row, a copy of a row once; empty where a run has none."""
    content = tracking.text(project, run["run_id"], "predictions.csv") or "row,actual,value\n"
    found = pd.read_csv(io.StringIO(content), dtype={"row": str})
    return found[[*KEYS, "value"]].drop_duplicates(KEYS)
