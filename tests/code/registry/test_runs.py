"""`mlref runs` lists, exports, deletes and restores; nothing goes without consent."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.entities import ViewType

from mlref.bundle.store import Store
from mlref.core.errors import MlrefError
from mlref.core.storage import Project, digest
from mlref.registry import register, runs
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


def names(project: Project, **options: Any) -> list[str]:
    """Names of the runs in a list."""
    (head, rows), _ = runs.listing(project, columns=["run_name"], **options)
    assert head == ["run_name"]
    return [row[0] for row in rows]


def state(project: Project) -> list[tuple[str, str]]:
    """Which runs there are, and which of them are deleted."""
    with open_store(project) as client:
        found = client.search_runs(
            [experiment(project, client, "rents", "")], run_view_type=ViewType.ALL
        )
    return sorted((run.info.run_id, run.info.lifecycle_stage) for run in found)


def test_a_list_has_the_models_newest_first(two: Project) -> None:
    (head, rows), more = runs.listing(two)
    assert head == [
        "run_id", "run_name", "verdict", "rmse", "rmse_lower", "rmse_upper",
        "cv_rmse", "mae", "r2", "start_time",
    ]  # fmt: skip
    assert [row[1].split()[0] for row in rows] == ["ridge", "elastic_net"]
    verdicts = [record["gate"]["verdict"] for record in Store(two.store).records()]
    assert [row[2] for row in rows] == verdicts[::-1]
    assert all(len(row[0]) == 32 for row in rows)
    assert not more


def test_a_list_may_have_short_ids(two: Project) -> None:
    (_, rows), _ = runs.listing(two, short=True)
    full = [run["run_id"] for run in Store(two.store).records()]
    assert [row[0] for row in rows] == [run_id[:8] for run_id in reversed(full)]


def test_a_list_says_when_there_is_more(two: Project) -> None:
    (_, rows), more = runs.listing(two, limit=1)
    assert (len(rows), more) == (1, True)
    (_, rows), more = runs.listing(two, limit=2)
    assert (len(rows), more) == (2, False)


def test_a_list_has_the_columns_that_are_asked_for(two: Project) -> None:
    (head, rows), _ = runs.listing(
        two, 'params.model = "ridge"', columns=["params.model", "params.alpha", "metrics.rmse"]
    )
    assert head == ["model", "alpha", "rmse"]
    assert [row[:2] for row in rows] == [["ridge", "0.1"]]


@pytest.mark.parametrize(
    "wrong", [{"columns": ["metrics.rsme"]}, {"order": ["metrics.rsme"]}, {"order": ["metrics.rsme DESC"]}]
)  # fmt: skip
def test_a_name_that_no_run_has_is_refused(wrong: dict[str, Any], two: Project) -> None:
    with pytest.raises(MlrefError, match="No run here has 'metrics.rsme'; there is: metrics.rmse,"):
        runs.listing(two, **wrong)


def test_a_condition_that_none_meets_gives_an_empty_list(two: Project) -> None:
    (_, rows), more = runs.listing(two, "metrics.rmse < 0", columns=["metrics.rmse"])
    assert (rows, more) == ([], False)


def test_a_store_without_runs_says_what_makes_them(opened: Project) -> None:
    for ask in (lambda: runs.listing(opened), lambda: runs.export(opened, Path("x.csv"))):
        with pytest.raises(MlrefError, match="There are no runs yet: run `make train`."):
            ask()
    assert not Path("x.csv").exists()


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
    assert list(table.columns[4:]) == sorted(table.columns[4:])
    by_name = table.set_index("run_name")
    best = Store(two.store).records()[1]
    row = by_name.loc[f"ridge {best['digest'][:8]}"]
    assert row["run_id"] == best["run_id"]
    assert row["metrics.rmse"] == pytest.approx(best["metrics"]["rmse"]["value"])
    assert (row["params.model"], row["tags.verdict"]) == ("ridge", best["gate"]["verdict"])
    assert by_name["metrics.cv_rmse"].notna().all()
    with pytest.raises(MlrefError, match=r"a file that ends in \.csv or \.parquet"):
        runs.export(two, tmp_path / "runs.xlsx")


def test_an_export_that_fails_leaves_the_earlier_file(
    two: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("earlier")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(MlrefError, match="No space left on device"):
        runs.export(two, path)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_is_also_named_by_its_model(two: Project) -> None:
    store = Store(two.store)
    first, second = store.records()
    champion = store.record(str(store.alias("champion")))
    assert champion is not None
    words = ("1", "2", "champion", "challenger", first["digest"], first["run_id"][:8])
    named = {word: runs.resolve(two, word)["run_id"] for word in words}
    assert named == {
        "1": first["run_id"],
        "2": second["run_id"],
        "champion": champion["run_id"],
        "challenger": second["run_id"],
        first["digest"]: first["run_id"],
        first["run_id"][:8]: first["run_id"],
    }


def test_a_run_that_made_a_registered_model_is_not_deleted(project: Project) -> None:
    before = state(project)
    with pytest.raises(
        MlrefError, match=r"made by ridge \w{8} \(version 2\), elastic_net .*--force"
    ):
        runs.delete(project, ["challenger", "1"], yes)
    assert state(project) == before


def test_a_model_that_only_mlflow_knows_counts_as_registered(project: Project) -> None:
    record = Store(project.store).records()[0]
    (project.store / f"{record['digest']}.json").unlink()
    with pytest.raises(MlrefError, match=r"\(version 1\)"):
        runs.delete(project, [record["run_id"]], yes)


def test_a_run_goes_with_its_trials_and_comes_back_with_them(project: Project) -> None:
    first = Store(project.store).records()[0]["run_id"]
    before, seen = state(project), []

    def agreed(shown: Table) -> bool:
        seen.append(shown)
        return True

    assert runs.delete(project, [first, first[:8]], agreed, force=True) == (
        "Deleted: 1 run and 4 trials. `mlref runs restore` takes it back until `mlflow gc`."
    )
    ((head, rows),) = seen
    assert dict(zip(head, rows[0], strict=True))["trials"] == "4"
    assert [row[0] for row in rows] == [first]
    assert len(names(project, trials=True)) == 4
    assert runs.restore(project, [first], yes) == "Restored: 1 run and 4 trials."
    assert state(project) == before


@pytest.mark.parametrize("verb", ["delete", "restore"])
def test_without_consent_nothing_changes(verb: str, project: Project) -> None:
    if verb == "restore":
        runs.delete(project, ["elastic_net 02"], yes)
    before = state(project)
    assert getattr(runs, verb)(project, ["elastic_net 02"], no) is None
    assert state(project) == before


@pytest.mark.parametrize("verb", ["delete", "restore"])
def test_a_kill_in_between_is_mended_by_the_same_command(
    verb: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Store(project.store).records()[0]["run_id"]
    again = {"delete": lambda: runs.delete(project, [first], yes, force=True),
             "restore": lambda: runs.restore(project, [first], yes)}[verb]  # fmt: skip
    if verb == "restore":
        runs.delete(project, [first], yes, force=True)
    real, calls = getattr(tracking, verb), []

    def crash(project: Project, run_id: str) -> None:
        calls.append(run_id)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(project, run_id)

    with monkeypatch.context() as patch:
        patch.setattr(tracking, verb, crash)
        with pytest.raises(KeyboardInterrupt):
            again()
    assert "1 run and 2 trials" in str(again())
    assert len(names(project, trials=True)) == (4 if verb == "delete" else 9)


def test_the_run_of_the_present_model_is_published_anew_after_it_was_deleted(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Store(project.store).records()[1]
    runs.delete(project, ["challenger"], yes, force=True)
    register.run(project)
    after = Store(project.store).records()[1]
    assert (after["version"], after["digest"]) == ("2", before["digest"])
    assert after["run_id"] != before["run_id"]
    assert len(names(project)) == 2


def test_looking_changes_nothing(project: Project) -> None:
    before = digest(project.root / "mlflow.db")
    runs.listing(project, trials=True)
    runs.delete(project, ["elastic_net 02"], no)
    assert digest(project.root / "mlflow.db") == before
