"""What `mlref runs` does with the runs in MLflow: list, export, delete and restore them."""

import datetime
import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlref.bundle.store import Store
from mlref.core.contract import load
from mlref.core.errors import MlrefError, ModelNotFound, RunNotFound
from mlref.core.storage import Project
from mlref.tracking import runs as tracking

COLUMNS = (
    "run_id", "run_name", "tags.verdict", "metrics.rmse", "metrics.rmse_lower", "metrics.rmse_upper",
    "metrics.cv_rmse", "metrics.mae", "metrics.r2", "start_time",
)  # fmt: skip
"""What a list shows unless it is told otherwise; those that no run has are left out."""

Table = tuple[list[str], list[list[str]]]
"""Head and rows."""

Agreed = Callable[[Table], bool]
"""Shows what is about to change and asks for consent."""

Run = dict[str, Any]


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
    name = experiment or load(project.contract).name
    found = tracking.search(project, name, condition, order, limit + 1, trials)
    if not len(found) and not condition:
        raise MlrefError(tracking.NONE_YET)
    frame = found[:limit].rename(columns={"tags.mlflow.runName": "run_name"})
    frame = frame.dropna(axis="columns", how="all")
    sorted_by = [key.split()[0].removeprefix("attributes.") for key in order]
    for column in [*columns, *sorted_by] if len(frame) else ():
        if column not in frame:
            close = difflib.get_close_matches(column, frame.columns, 3) or sorted(frame.columns)
            raise MlrefError(f"No run here has {column!r}; there is: {', '.join(close)}.")
    shown = [column for column in columns or COLUMNS if column in frame]
    if short and "run_id" in frame:
        frame["run_id"] = frame["run_id"].str[:8]
    head = [column.partition(".")[2] or column for column in shown]
    rows = [[text(cell) for cell in row] for row in frame[shown].itertuples(index=False)]
    return (head, rows), len(found) > limit


def text(value: Any) -> str:
    """A cell of a table: one line, floats at six digits, times in UTC."""
    if value is None or value != value:  # noqa: PLR0124 - what a run lacks is NaN
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime.datetime):
        return f"{value:%Y-%m-%d %H:%M}Z"
    return " ".join(str(value).split())


def export(project: Project, path: Path, experiment: str | None = None) -> str:
    """Write all live runs, trials too, to a CSV or Parquet file: a row a run, a column a metric.

    Raises
    ------
    MlrefError
        For another kind of file, and when there are no runs.
    """
    from mlref.data.tables import write_csv, write_parquet

    writers = {".csv": write_csv, ".parquet": write_parquet}
    if path.suffix not in writers:
        raise MlrefError(f"{path}: runs are written to a file that ends in {' or '.join(writers)}.")
    found = tracking.search(project, experiment or load(project.contract).name)
    if not len(found):
        raise MlrefError(tracking.NONE_YET)
    frame = found.rename(columns={"tags.mlflow.runName": "run_name"})
    first = ["run_id", "run_name", "status", "start_time"]
    frame = frame[[*first, *sorted(name for name in frame.columns if "." in name)]]
    writers[path.suffix](path, frame)
    return f"{len(frame)} runs × {frame.shape[1]} columns → {path}"


def resolve(project: Project, reference: str) -> Run:
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
        return tracking.find(project, reference)
    try:
        return tracking.find(project, record["run_id"])
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
    chosen = [resolve(project, reference) for reference in references]
    made = {record["run_id"]: str(record["version"]) for record in Store(project.store).records()}
    made |= tracking.versions(project, load(project.contract).name)
    held = {
        f"{tracking.name(run)} (version {made[run['run_id']]})": run
        for run in chosen
        if run["run_id"] in made
    }
    if held and not force:
        raise MlrefError(
            f"A registered model was made by {', '.join(held)}: without the run nobody can tell how."
            " Add --force to delete it all the same."
        )
    if done := _change(project, chosen, agreed, deleted=False):
        return f"Deleted: {done}. `mlref runs restore` takes it back until `mlflow gc`."
    return None


def restore(project: Project, references: Sequence[str], agreed: Agreed) -> str | None:
    """Restore deleted runs with their trials; a sentence, or None where that was not agreed to."""
    chosen = [tracking.find(project, reference, deleted=True) for reference in references]
    done = _change(project, chosen, agreed, deleted=True)
    return f"Restored: {done}." if done else None


def _change(project: Project, chosen: list[Run], agreed: Agreed, deleted: bool) -> str | None:
    """Delete live runs or restore deleted ones, if that is agreed to; says how many.

    Trials come before their run: after a kill in between the run can still be named to do the rest.
    """
    parents = {run["run_id"]: run for run in chosen}
    trials = {key: tracking.children(project, key, deleted) for key in parents}
    head = ["run_id", "run_name", "start_time", "trials", "rmse"]
    rows = [
        [key, tracking.name(run), run["start_time"], len(trials[key]), run.get("metrics.rmse")]
        for key, run in parents.items()
    ]
    if not agreed((head, [[text(cell) for cell in row] for row in rows])):
        return None
    for key in dict.fromkeys(
        [*(run["run_id"] for part in trials.values() for run in part), *parents]
    ):
        (tracking.restore if deleted else tracking.delete)(project, key)
    numbers = {"run": len(parents), "trial": sum(map(len, trials.values()))}
    return " and ".join(f"{n} {word}{'s' * (n != 1)}" for word, n in numbers.items() if n)
