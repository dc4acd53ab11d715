"""`mlref runs` lists, exports, deletes and restores; nothing goes without consent."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.entities import ViewType

from mlref.bundle.store import Store
from mlref.console import Shown
from mlref.core.errors import MlrefError, RunNotFound
from mlref.core.storage import Project, digest
from mlref.registry import runs
from mlref.tracking import runs as tracking
from mlref.tracking.store import experiment, open_store


def yes(_: Shown) -> bool:
    """Agree."""
    return True


def no(_: Shown) -> bool:
    """Do not."""
    return False


def state(project: Project) -> dict[str, str]:
    """Which runs there are, and which of them are deleted."""
    with open_store(project) as client:
        place = experiment(project, client, "rents", "")
        found = client.search_runs([place], run_view_type=ViewType.ALL)
    return {run.info.run_id: run.info.lifecycle_stage for run in found}


def test_a_list_has_the_models_newest_first(three: Project) -> None:
    (head, rows), more = runs.listing(three)
    assert head == [
        "run_id", "run_name", "verdict", "rmse", "rmse_lower", "rmse_upper",
        "cv_rmse", "mae", "r2", "start_time",
    ]  # fmt: skip
    records = Store(three.store).records()[::-1]
    assert [row[0] for row in rows] == [record["run_id"][:8] for record in records]
    assert [row[1].split()[0] for row in rows] == ["ridge", "elastic_net", "elastic_net"]
    assert [row[2] for row in rows] == [record["gate"]["verdict"] for record in records]
    assert not more


@pytest.mark.parametrize(
    ("asked", "count", "more"),
    [
        ({"limit": 3}, 3, False),
        ({"trials": True}, 13, False),
        ({"condition": 'params.model = "ridge"'}, 1, False),
        ({"condition": "metrics.rmse < 0"}, 0, False),
        ({"condition": "metrics.cv_rmse > 0", "trials": True, "limit": 3}, 3, True),
    ],
)
def test_a_list_has_what_is_asked_for(
    three: Project, asked: dict[str, Any], count: int, more: bool
) -> None:
    (_, rows), there_is_more = runs.listing(three, order=["metrics.cv_rmse"], **asked)
    assert (len(rows), there_is_more) == (count, more)


def test_a_list_has_the_columns_that_are_asked_for_in_the_order_that_is_asked_for(
    three: Project,
) -> None:
    columns = ["params.model", "params.alpha", "metrics.rmse"]
    (head, rows), more = runs.listing(three, order=["metrics.rmse DESC"], columns=columns, limit=1)
    assert head == ["model", "alpha", "rmse"] and more
    assert [row[:2] for row in rows] == [["ridge", "3"]]


@pytest.mark.parametrize("wrong", ["columns", "order"])
def test_a_name_that_no_run_has_is_refused(wrong: str, three: Project) -> None:
    with pytest.raises(MlrefError, match="No run here has 'metrics.rsme'; .* metrics.rmse,"):
        runs.listing(three, **{wrong: ["metrics.rsme"]})


def test_a_store_without_runs_says_what_makes_them(opened: Project, tmp_path: Path) -> None:
    for ask in (lambda: runs.listing(opened), lambda: runs.export(opened, tmp_path / "x.csv")):
        with pytest.raises(MlrefError, match="There are no runs yet: run `make train`."):
            ask()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (54.123456789, "54.1235"), ("two\nlines  here", "two lines here"), (0.0, "0")],
)
def test_a_cell_is_one_line(value: object, shown: str) -> None:
    assert runs.text(value) == shown


@pytest.mark.parametrize(("suffix", "read"), [(".csv", pd.read_csv), (".parquet", pd.read_parquet)])
def test_all_runs_are_exported(suffix: str, read: Any, three: Project, tmp_path: Path) -> None:
    path = tmp_path / f"runs{suffix}"
    said = runs.export(three, path)
    table = read(path)
    assert said == f"13 runs × {table.shape[1]} columns → {path}"
    assert list(table.columns[:4]) == ["run_id", "run_name", "status", "start_time"]
    last = Store(three.store).records()[-1]
    row = table.set_index("run_name").loc[f"ridge {last['digest'][:8]}"]
    assert row["run_id"] == last["run_id"]
    assert row["metrics.rmse"] == pytest.approx(last["metrics"]["rmse"]["value"])
    assert (row["params.model"], row["tags.verdict"]) == ("ridge", "block")
    with pytest.raises(MlrefError, match=r"a file that ends in \.csv or \.parquet"):
        runs.export(three, tmp_path / "runs.xlsx")


def test_a_run_is_named_by_its_id_the_start_of_it_its_name_or_its_model(three: Project) -> None:
    store, every = Store(three.store), tracking.search(three)
    first, _, last = store.records()
    words = {
        "1": first, "3": last, "challenger": last, first["digest"][:8]: first,
        first["run_id"]: first, first["run_id"][:6]: first, f"ridge {last['digest'][:8]}": last,
    }  # fmt: skip
    for word, record in words.items():
        (run,) = runs.resolve(three, every, [word, word])
        assert run["run_id"] == record["run_id"], word


@pytest.mark.parametrize("reference", ["nothing", "", "it's", "%", "ffffffffff", "abcde"])
def test_a_run_that_is_not_there_is_refused(reference: str, three: Project) -> None:
    with pytest.raises(RunNotFound):
        runs.resolve(three, tracking.search(three), [reference])


def test_where_nothing_was_deleted_there_is_nothing_to_restore(
    three: Project, opened: Project
) -> None:
    for project in (three, opened):
        with pytest.raises(RunNotFound):
            runs.restore(project, ["mean 00"], yes)


def test_a_name_of_two_runs_is_refused_with_their_ids(three: Project) -> None:
    with pytest.raises(RunNotFound, match=r"names 3 runs(?s:.*)\w{32} \(mean 00\)"):
        runs.resolve(three, tracking.search(three), ["mean 00"])


def test_a_run_that_made_a_registered_model_is_not_deleted(three: Project) -> None:
    before = state(three)
    with pytest.raises(MlrefError, match=r"made by ridge \w{8} \(version 3\), elastic.*--force"):
        runs.delete(three, ["challenger", "1"], yes)
    assert state(three) == before


@pytest.mark.parametrize("killed", [False, True])
def test_a_run_goes_with_its_trials_and_comes_back_with_them(
    project_of_three: Project, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    """After a kill between two of them the same command does the rest: the trials come first."""
    project, seen = project_of_three, list[Shown]()
    first, before = Store(project.store).records()[0]["run_id"], state(project)

    def agreed(shown: Shown) -> bool:
        seen.append(shown)
        return True

    def kill_after_two(verb: str, change: Callable[[], object]) -> None:
        real = getattr(tracking, verb)

        def two_of_them(project: Project, run_ids: Iterable[str]) -> None:
            real(project, [*run_ids][:2])
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(tracking, verb, two_of_them)
            change()

    if killed:
        kill_after_two("delete", lambda: runs.delete(project, [first], yes, True))
    trials = 2 if killed else 4
    assert runs.delete(project, [first, first[:8]], agreed, force=True) == (
        f"Deleted: 1 run and {trials} trials. `mlref runs restore` takes it back until `mlflow gc`."
    )
    ((head, rows),) = seen
    assert [[*row[:1], *row[3:4]] for row in rows] == [[first, str(trials)]]
    assert sorted(state(project).values()) == ["active"] * 8 + ["deleted"] * 5
    if killed:
        kill_after_two("restore", lambda: runs.restore(project, [first], yes))
    assert runs.restore(project, [first], yes) == f"Restored: 1 run and {trials} trials."
    assert state(project) == before


def test_without_consent_nothing_changes(three: Project) -> None:
    before = digest(three.root / "mlflow.db")
    runs.listing(three, trials=True)
    assert runs.delete(three, ["elastic_net 03"], no) is None
    assert digest(three.root / "mlflow.db") == before
