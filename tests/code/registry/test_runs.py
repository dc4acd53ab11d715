"""`mlref runs` lists, exports, deletes and restores; nothing goes without consent."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.entities import ViewType

from mlref.bundle.store import Store
from mlref.core.errors import MlrefError, RunNotFound
from mlref.core.storage import Project, digest
from mlref.registry import runs
from mlref.registry.runs import Table
from mlref.tracking import runs as tracking
from mlref.tracking.store import experiment, open_store


@pytest.fixture
def project(project_of_two: Project) -> Project:
    """Two registered models, to change."""
    return project_of_two


def yes(_: Table) -> bool:
    """Agree."""
    return True


def no(_: Table) -> bool:
    """Do not."""
    return False


def state(project: Project) -> dict[str, str]:
    """Which runs there are, and which of them are deleted."""
    with open_store(project) as client:
        place = experiment(project, client, "rents", "")
        found = client.search_runs([place], run_view_type=ViewType.ALL)
    return {run.info.run_id: run.info.lifecycle_stage for run in found}


def test_a_list_has_the_models_newest_first(two: Project) -> None:
    (head, rows), more = runs.listing(two)
    assert head == [
        "run_id", "run_name", "verdict", "rmse", "rmse_lower", "rmse_upper",
        "cv_rmse", "mae", "r2", "start_time",
    ]  # fmt: skip
    records = Store(two.store).records()[::-1]
    assert [row[0] for row in rows] == [record["run_id"][:8] for record in records]
    assert [row[1].split()[0] for row in rows] == ["ridge", "elastic_net"]
    assert [row[2] for row in rows] == [record["gate"]["verdict"] for record in records]
    assert not more


@pytest.mark.parametrize(
    ("asked", "count", "more"),
    [
        ({"limit": 1}, 1, True),
        ({"limit": 2}, 2, False),
        ({"trials": True}, 9, False),
        ({"condition": 'params.model = "ridge"'}, 1, False),
        ({"condition": "metrics.rmse < 0"}, 0, False),
        ({"condition": "metrics.cv_rmse > 0", "trials": True, "limit": 3}, 3, True),
    ],
)
def test_a_list_has_what_is_asked_for(
    two: Project, asked: dict[str, Any], count: int, more: bool
) -> None:
    (_, rows), there_is_more = runs.listing(two, order=["metrics.cv_rmse"], **asked)
    assert (len(rows), there_is_more) == (count, more)


def test_a_list_has_the_columns_that_are_asked_for_in_the_order_that_is_asked_for(
    two: Project,
) -> None:
    columns = ["params.model", "params.alpha", "metrics.rmse"]
    (head, rows), _ = runs.listing(two, order=["metrics.rmse DESC"], columns=columns)
    assert head == ["model", "alpha", "rmse"]
    assert [row[:2] for row in rows] == [["elastic_net", "0.01"], ["ridge", "0.1"]]


@pytest.mark.parametrize("wrong", ["columns", "order"])
def test_a_name_that_no_run_has_is_refused(wrong: str, two: Project) -> None:
    with pytest.raises(MlrefError, match="No run here has 'metrics.rsme'; .* metrics.rmse,"):
        runs.listing(two, **{wrong: ["metrics.rsme"]})  # type: ignore[arg-type]


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
def test_all_runs_are_exported(suffix: str, read: Any, two: Project, tmp_path: Path) -> None:
    path = tmp_path / f"runs{suffix}"
    said = runs.export(two, path)
    table = read(path)
    assert said == f"9 runs × {table.shape[1]} columns → {path}"
    assert list(table.columns[:4]) == ["run_id", "run_name", "status", "start_time"]
    best = Store(two.store).records()[1]
    row = table.set_index("run_name").loc[f"ridge {best['digest'][:8]}"]
    assert row["run_id"] == best["run_id"]
    assert row["metrics.rmse"] == pytest.approx(best["metrics"]["rmse"]["value"])
    assert (row["params.model"], row["tags.verdict"]) == ("ridge", best["gate"]["verdict"])
    with pytest.raises(MlrefError, match=r"a file that ends in \.csv or \.parquet"):
        runs.export(two, tmp_path / "runs.xlsx")


def test_a_run_is_named_by_its_id_the_start_of_it_its_name_or_its_model(two: Project) -> None:
    store, every = Store(two.store), tracking.search(two)
    first, second = store.records()
    words = {
        "1": first, "2": second, "challenger": second, first["digest"][:8]: first,
        first["run_id"]: first, first["run_id"][:6]: first, f"ridge {second['digest'][:8]}": second,
    }  # fmt: skip
    for word, record in words.items():
        (run,) = runs.resolve(two, every, [word, word])
        assert run["run_id"] == record["run_id"], word


@pytest.mark.parametrize("reference", ["nothing", "", "it's", "%", "ffffffffff", "abcde"])
def test_a_run_that_is_not_there_is_refused(reference: str, two: Project) -> None:
    with pytest.raises(RunNotFound):
        runs.resolve(two, tracking.search(two), [reference])


def test_where_nothing_was_deleted_there_is_nothing_to_restore(
    two: Project, opened: Project
) -> None:
    for project in (two, opened):
        with pytest.raises(RunNotFound):
            runs.restore(project, ["mean 00"], yes)


def test_a_name_of_two_runs_is_refused_with_their_ids(two: Project) -> None:
    with pytest.raises(RunNotFound, match=r"names 2 runs(?s:.*)\w{32} \(mean 00\)"):
        runs.resolve(two, tracking.search(two), ["mean 00"])


def test_a_run_that_made_a_registered_model_is_not_deleted(two: Project) -> None:
    before = state(two)
    with pytest.raises(MlrefError, match=r"made by ridge \w{8} \(version 2\), elastic.*--force"):
        runs.delete(two, ["challenger", "1"], yes)
    assert state(two) == before


@pytest.mark.parametrize("killed", [False, True])
def test_a_run_goes_with_its_trials_and_comes_back_with_them(
    project: Project, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    first, before, seen = Store(project.store).records()[0]["run_id"], state(project), list[Table]()

    def agreed(shown: Table) -> bool:
        seen.append(shown)
        return True

    def kill(verb: str) -> None:
        real = getattr(tracking, verb)

        def two_of_them(project: Project, run_ids: Iterable[str]) -> None:
            real(project, [*run_ids][:2])
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(tracking, verb, two_of_them)
            (
                runs.delete(project, [first], yes, True)
                if verb == "delete"
                else runs.restore(project, [first], yes)
            )

    if killed:
        kill("delete")
    said = runs.delete(project, [first, first[:8]], agreed, force=True)
    trials = 2 if killed else 4
    assert said == (
        f"Deleted: 1 run and {trials} trials. `mlref runs restore` takes it back until `mlflow gc`."
    )
    ((head, rows),) = seen
    assert [row[:1] + row[3:4] for row in rows] == [[first, str(trials)]]
    assert sorted(state(project).values()) == ["active"] * 4 + ["deleted"] * 5
    if killed:
        kill("restore")
    assert (
        runs.restore(project, [first], yes) == f"Restored: 1 run and {5 - 1 - 2 * killed} trials."
    )
    assert state(project) == before


def test_without_consent_nothing_changes(two: Project) -> None:
    before = digest(two.root / "mlflow.db")
    runs.listing(two, trials=True)
    assert runs.delete(two, ["elastic_net 02"], no) is None
    assert digest(two.root / "mlflow.db") == before
