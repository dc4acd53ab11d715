"""What `mlref runs` does with the runs in MLflow: list, export, delete and restore them."""

import datetime
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mlref.bundle.store import Store
from mlref.console import Agreed, Shown
from mlref.core.contract import load
from mlref.core.errors import MlrefError, ModelNotFound, RunNotFound
from mlref.core.storage import Project
from mlref.tracking import runs as tracking

COLUMNS = (
    "run_id", "run_name", "tags.verdict", "metrics.rmse", "metrics.rmse_lower", "metrics.rmse_upper",
    "metrics.cv_rmse", "metrics.mae", "metrics.r2", "start_time",
)  # fmt: skip
"""What a list shows unless it is told otherwise; those that no run has are left out."""

Run = dict[str, Any]


def listing(
    project: Project,
    condition: str = "",
    order: Sequence[str] = (),
    columns: Sequence[str] = (),
    limit: int = 20,
    trials: bool = False,
    experiment: str | None = None,
) -> tuple[Shown, bool]:
    """Search the runs; gives a table, and whether there are more of them than ``limit``.

    Ids have eight digits, which is enough for the other verbs; ``export`` has all of them.

    Raises
    ------
    MlrefError
        When there are no runs, for a condition that MLflow cannot read, and for a column or a key to
        sort by that none of the runs has.
    """
    found = _search(project, experiment, condition, order)
    found = found if trials else found[found["parent"].isna()]
    frame = found[:limit].dropna(axis="columns", how="all")
    sorted_by = [key.split()[0].removeprefix("attributes.") for key in order]
    for column in [*columns, *sorted_by] if len(frame) else ():
        if column not in frame:
            there = ", ".join(sorted(frame.columns))
            raise MlrefError(f"No run here has {column!r}; there is: {there}.")
    shown = [column for column in columns or COLUMNS if column in frame]
    if "run_id" in frame:
        frame["run_id"] = frame["run_id"].str[:8]
    head = [column.partition(".")[2] or column for column in shown]
    rows = [[text(cell) for cell in row] for row in frame[shown].itertuples(index=False)]
    return (head, rows), len(found) > limit


def _search(
    project: Project, experiment: str | None, condition: str = "", order: Sequence[str] = ()
) -> pd.DataFrame:
    name = experiment or load(project.contract).name
    found = tracking.search(project, name, condition, order)
    if found.empty and not condition:
        raise MlrefError(tracking.NONE_YET)
    return found


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
    frame = _search(project, experiment)
    first = ["run_id", "run_name", "status", "start_time"]
    frame = frame[[*first, *sorted(name for name in frame.columns if "." in name)]]
    writers[path.suffix](path, frame)
    return f"{len(frame)} runs × {frame.shape[1]} columns → {path}"


def resolve(project: Project, runs: pd.DataFrame, references: Sequence[str]) -> list[Run]:
    """The runs that ids, starts of them (6 digits), names, or models' versions, aliases or digests name.

    Raises
    ------
    RunNotFound
        When no run has one of the names, or more than one.
    """
    store, chosen = Store(project.store), dict[str, Run]()
    for reference in references:
        try:
            record = store.record(store.resolve(reference))
        except ModelNotFound:
            record = None
        word = record["run_id"] if record else reference
        found = runs["run_name"] == word
        if len(word) >= 6:
            found |= runs["run_id"].astype(str).str.startswith(word)
        matches = runs[found].to_dict("records")
        if len(matches) != 1:
            raise RunNotFound(word, [f"{run['run_id']} ({run['run_name']})" for run in matches])
        chosen[matches[0]["run_id"]] = {str(key): cell for key, cell in matches[0].items()}
    return list(chosen.values())


def delete(
    project: Project, references: Sequence[str], agreed: Agreed, force: bool = False
) -> str | None:
    """Delete runs with their trials; a sentence, or None where that was not agreed to.

    Raises
    ------
    MlrefError
        When a registered version points to one of them, unless ``force``.
    """
    runs = tracking.search(project)
    chosen = resolve(project, runs, references)
    made = {record["run_id"]: record["version"] for record in Store(project.store).records()}
    names = {run["run_id"]: run["run_name"] for run in chosen}
    held = [f"{name} (version {made[key]})" for key, name in names.items() if key in made]
    if held and not force:
        raise MlrefError(
            f"A registered model was made by {', '.join(held)}: without the run nobody can tell how."
            " Add --force to delete it all the same."
        )
    if done := _change(project, chosen, runs, agreed, tracking.delete):
        return f"Deleted: {done}. `mlref runs restore` takes it back until `mlflow gc`."
    return None


def restore(project: Project, references: Sequence[str], agreed: Agreed) -> str | None:
    """Restore deleted runs with their trials; a sentence, or None where that was not agreed to."""
    runs = tracking.search(project, deleted=True)
    chosen = resolve(project, runs, references)
    done = _change(project, chosen, runs, agreed, tracking.restore)
    return f"Restored: {done}." if done else None


def _change(
    project: Project, chosen: list[Run], runs: pd.DataFrame, agreed: Agreed,
    change: Callable[[Project, Iterable[str]], None],
) -> str | None:  # fmt: skip
    """Delete or restore runs, if that is agreed to; says how many.

    Trials come before their run: after a kill in between the run can still be named to do the rest.
    """
    parents = [run["run_id"] for run in chosen]
    trials = runs[runs["parent"].isin(parents)]
    head = ["run_id", "run_name", "start_time", "trials", "metrics.rmse"]
    counts = trials["parent"].value_counts()
    rows = [run | {"trials": counts.get(run["run_id"], 0)} for run in chosen]
    if not agreed((head, [[text(row.get(name)) for name in head] for row in rows])):
        return None
    change(project, dict.fromkeys([*trials["run_id"], *parents]))
    numbers = {"run": len(parents), "trial": len(trials)}
    return " and ".join(f"{n} {word}{'s' * (n != 1)}" for word, n in numbers.items() if n)
