"""What `mlref runs` does with the runs in MLflow: list, export, delete and restore them."""

import contextlib
import datetime
import difflib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mlref import tracking
from mlref.bundle.store import Store
from mlref.core.contract import load
from mlref.core.errors import MlrefError, ModelNotFound, RunNotFound
from mlref.core.storage import Project

COLUMNS = (
    "run_id", "run_name", "tags.verdict", "metrics.rmse", "metrics.rmse_lower", "metrics.rmse_upper",
    "metrics.cv_rmse", "metrics.mae", "metrics.r2", "start_time",
)  # fmt: skip
"""What a list shows unless it is told otherwise; those that no run has are left out."""

Table = tuple[list[str], list[list[str]]]
"""Head and rows."""

Agreed = Callable[[Table], bool]
"""Shows what is about to change and asks for consent."""


def opened(project: Project, experiment: str | None = None) -> contextlib.AbstractContextManager[
    tracking.Runs
]:  # fmt: skip
    """The runs of an experiment, by default the one that `mlref register` writes."""
    return tracking.opened(project, experiment or load(project.contract).name)


def listing(
    project: Project,
    condition: str = "",
    order: Sequence[str] = (),
    columns: Sequence[str] = (),
    limit: int = 20,
    trials: bool = False,
    experiment: str | None = None,
    short: bool = False,
) -> tuple[Table, bool]:
    """Search the runs; gives a table, and whether there are more of them than ``limit``.

    ``short`` cuts ids to eight digits, which is enough for the other verbs.

    Raises
    ------
    MlrefError
        When there are no runs, for a condition that MLflow cannot read, and for a column or a key to
        sort by that none of the runs has.
    """
    with opened(project, experiment) as runs:
        keys = {"order": order} if order else {}
        found = runs.search(condition, limit=limit + 1, trials=trials, **keys)
        if not found and not condition:
            raise MlrefError(tracking.NONE_YET)
    cells = [run.cells() for run in found[:limit]]
    for row, run in zip(cells, found, strict=False) if short else ():
        row["run_id"] = run.run_id[:8]
    known = sorted({name for row in cells for name in row})
    sorted_by = [key.split()[0].removeprefix("attributes.") for key in order]
    for name in [*columns, *sorted_by] if cells else ():
        if name not in known:
            close = difflib.get_close_matches(name, known, 3) or known
            raise MlrefError(f"No run here has {name!r}; there is: {', '.join(close)}.")
    shown = columns or [name for name in COLUMNS if name in known]
    head = [name.partition(".")[2] or name for name in shown]
    return (head, [[text(row.get(name)) for name in shown] for row in cells]), len(found) > limit


def text(value: object) -> str:
    """A cell of a table: one line, floats at six digits, times in UTC."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime.datetime):
        return f"{value:%Y-%m-%d %H:%M}Z"
    return " ".join(str(value).split())


def export(project: Project, path: Path, experiment: str | None = None) -> str:
    """Write all live runs, trials too, to a CSV or Parquet file: a row a run, a column a figure.

    Raises
    ------
    MlrefError
        For another kind of file, and when there are no runs.
    """
    import pandas as pd

    from mlref.data.tables import write_csv, write_parquet  # pandas, which a list can spare

    writers = {".csv": write_csv, ".parquet": write_parquet}
    if path.suffix not in writers:
        raise MlrefError(f"{path}: runs are written to a file that ends in {' or '.join(writers)}.")
    with opened(project, experiment) as runs:
        found = runs.search()
    if not found:
        raise MlrefError(tracking.NONE_YET)
    frame = pd.DataFrame([run.cells() for run in found])
    fixed = [name for name in frame.columns if "." not in name]
    writers[path.suffix](path, frame[[*fixed, *sorted(set(frame.columns) - set(fixed))]])
    return f"{len(found)} runs × {frame.shape[1]} columns → {path}"


def resolve(project: Project, runs: tracking.Runs, reference: str) -> tracking.Run:
    """The run that an id, the start of one, a name, or a model's version, alias or digest names.

    Raises
    ------
    RunNotFound
        When none has that name, or more than one.
    """
    store = Store(project.store)
    try:
        record = store.record(store.resolve(reference)) or {}
    except ModelNotFound:
        return runs.find(reference)
    try:
        return runs.find(record["run_id"])
    except RunNotFound as error:
        raise MlrefError(
            f"Model {reference!r} was published as run {record['run_id']}, which the tracking store no"
            " longer has."
        ) from error


def delete(
    project: Project, references: Sequence[str], agreed: Agreed, force: bool = False
) -> str | None:
    """Delete runs with their trials; a sentence, or None where that was not agreed to.

    Raises
    ------
    MlrefError
        When a registered version points to one of them, unless ``force``.
    """
    name = load(project.contract).name
    with opened(project) as runs:
        chosen = {run.run_id: run for run in (resolve(project, runs, one) for one in references)}
        versions = {r["run_id"]: str(r["version"]) for r in Store(project.store).records()}
        versions |= runs.versions(name)
        held = [
            f"{run.run_name} (version {versions[key]})"
            for key, run in chosen.items()
            if key in versions
        ]
        if held and not force:
            raise MlrefError(
                f"A registered model was made by {', '.join(held)}: without the run nobody can tell how."
                " Add --force to delete it all the same."
            )
        trials = {key: runs.children(run) for key, run in chosen.items()}
        if not agreed(_table(chosen, trials)):
            return None
        for run in _children_first(chosen, trials):
            runs.delete(run)
    return (
        f"Deleted: {_count(chosen, trials)}. `mlref runs restore` takes it back until `mlflow gc`."
    )


def restore(project: Project, references: Sequence[str], agreed: Agreed) -> str | None:
    """Restore deleted runs with their trials; a sentence, or None where that was not agreed to."""
    with opened(project) as runs:
        chosen = {run.run_id: run for run in (runs.find(one, deleted=True) for one in references)}
        trials = {key: runs.children(run, deleted=True) for key, run in chosen.items()}
        if not agreed(_table(chosen, trials)):
            return None
        for run in _children_first(chosen, trials):
            runs.restore(run)
    return f"Restored: {_count(chosen, trials)}."


Chosen = dict[str, tracking.Run]
Trials = dict[str, list[tracking.Run]]


def _children_first(chosen: Chosen, trials: Trials) -> Iterator[tracking.Run]:
    """Trials before their run: after a kill in between the run can still be named to do the rest."""
    done = set()
    for run in [*(trial for each in trials.values() for trial in each), *chosen.values()]:
        if run.run_id not in done:
            done.add(run.run_id)
            yield run


def _table(chosen: Chosen, trials: Trials) -> Table:
    head = ["run_id", "run_name", "start_time", "trials", "rmse"]
    return head, [
        [text(cell) for cell in (
            key, run.run_name, run.start_time, len(trials[key]), run.metrics.get("rmse")
        )]
        for key, run in chosen.items()
    ]  # fmt: skip


def _count(chosen: Chosen, trials: Trials) -> str:
    """For example ``1 run and 9 trials``."""
    numbers = {"run": len(chosen), "trial": sum(map(len, trials.values()))}
    return " and ".join(f"{n} {word}{'s' * (n != 1)}" for word, n in numbers.items() if n)
