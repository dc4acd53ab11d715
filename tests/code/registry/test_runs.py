"""`mlref runs` lists, exports, deletes and restores; nothing goes without consent."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mlref import tracking
from mlref.bundle.store import Store
from mlref.core.errors import MlrefError, RunNotFound
from mlref.core.storage import Project, digest
from mlref.registry import register, runs
from mlref.registry.runs import Table
from tests.projects import copy


@pytest.fixture
def project(two: Project, tmp_path: Path) -> Project:
    """Two registered models, to change."""
    return copy(two, tmp_path / "clone")


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


def state(project: Project) -> bytes:
    """Which runs there are, and which of them are deleted."""
    with contextlib.closing(sqlite3.connect(project.root / "mlflow.db")) as db:
        found = db.execute("select run_uuid, lifecycle_stage from runs order by 1").fetchall()
    return repr(found).encode()


def test_a_list_has_the_models_newest_first(two: Project) -> None:
    """With what one asks first; a column that no run has is left out."""
    (head, rows), more = runs.listing(two)
    assert head == [
        "run_id", "run_name", "verdict", "rmse", "rmse_lower", "rmse_upper", "mae", "r2", "start_time",
    ]  # fmt: skip
    assert [row[1].split()[0] for row in rows] == ["ridge", "elastic_net"]
    verdicts = [record["gate"]["verdict"] for record in Store(two.store).records()]
    assert [row[2] for row in rows] == verdicts[::-1]
    assert all(len(row[0]) == 32 for row in rows)
    assert not more


def test_a_list_may_have_short_ids(two: Project) -> None:
    """Long enough for the other verbs."""
    (_, rows), _ = runs.listing(two, short=True)
    full = [run["run_id"] for run in Store(two.store).records()]
    assert [row[0] for row in rows] == [run_id[:8] for run_id in reversed(full)]


def test_a_list_may_have_the_trials(two: Project) -> None:
    """Sorted by their own error; a cell that a run lacks is a dash."""
    (head, rows), _ = runs.listing(two, order=["metrics.cv_rmse DESC"], trials=True)
    assert len(rows) == 2 + 4 + 3
    assert rows[0][1] == "mean 00" and rows[0][head.index("rmse")] == "-"
    assert {row[head.index("cv_rmse")] for row in rows[-2:]} == {"-"}


def test_a_list_says_when_there_is_more(two: Project) -> None:
    """So that nobody takes its end for the end."""
    (_, rows), more = runs.listing(two, limit=1)
    assert (len(rows), more) == (1, True)
    (_, rows), more = runs.listing(two, limit=2)
    assert (len(rows), more) == (2, False)


def test_a_list_has_the_columns_that_are_asked_for(two: Project) -> None:
    """Under their last name."""
    (head, rows), _ = runs.listing(
        two, 'params.model = "ridge"', columns=["params.model", "params.alpha", "metrics.rmse"]
    )
    assert head == ["model", "alpha", "rmse"]
    assert [row[:2] for row in rows] == [["ridge", "0.1"]]


@pytest.mark.parametrize(
    "wrong", [{"columns": ["metrics.rsme"]}, {"order": ["metrics.rsme"]}, {"order": ["metrics.rsme DESC"]}]
)  # fmt: skip
def test_a_name_that_no_run_has_is_refused(wrong: dict[str, Any], two: Project) -> None:
    """MLflow would sort by nothing and say nothing."""
    with pytest.raises(MlrefError, match="No run here has 'metrics.rsme'; there is: metrics.rmse,"):
        runs.listing(two, **wrong)


def test_an_attribute_may_carry_its_prefix(two: Project) -> None:
    """As in MLflow's own language."""
    assert [name.split()[0] for name in names(two, order=["attributes.start_time"])] == [
        "elastic_net",
        "ridge",
    ]


def test_a_condition_that_none_meets_gives_an_empty_list(two: Project) -> None:
    """Which is an answer; the columns are not checked against nothing."""
    (_, rows), more = runs.listing(two, "metrics.rmse < 0", columns=["metrics.rmse"])
    assert (rows, more) == ([], False)


def test_a_store_without_runs_says_what_makes_them(opened: Project) -> None:
    """For a list and for a file."""
    for ask in (lambda: runs.listing(opened), lambda: runs.export(opened, Path("x.csv"))):
        with pytest.raises(MlrefError, match="There are no runs yet: run `make train`."):
            ask()
    assert not Path("x.csv").exists()


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (54.123456789, "54.1235"), ("two\nlines  here", "two lines here"), (0.0, "0")],
)
def test_a_cell_is_one_line(value: object, shown: str) -> None:
    """Of a note with paragraphs too."""
    assert runs.text(value) == shown


@pytest.mark.parametrize(("suffix", "read"), [(".csv", pd.read_csv), (".parquet", pd.read_parquet)])
def test_all_runs_are_exported(suffix: str, read: Any, two: Project, tmp_path: Path) -> None:
    """Trials too, every parameter, metric and tag in its column."""
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
    assert by_name["metrics.cv_rmse"].notna().sum() == 7


@pytest.mark.parametrize("name", ["runs.xlsx", "runs", "runs.CSV", "runs.parquet.gz"])
def test_another_kind_of_file_is_refused(name: str, two: Project, tmp_path: Path) -> None:
    """And nothing is written."""
    with pytest.raises(MlrefError, match=r"a file that ends in \.csv or \.parquet"):
        runs.export(two, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_fails_leaves_the_earlier_file(
    two: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It replaces at once, or not at all."""
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
    """Version, alias or digest; the bundle store knows which."""
    store = Store(two.store)
    first, second = store.records()
    champion = store.record(str(store.alias("champion")))
    assert champion is not None
    with runs.opened(two) as found:
        named = {word: runs.resolve(two, found, word).run_id for word in (
            "1", "2", "champion", "challenger", first["digest"], first["run_id"][:8]
        )}  # fmt: skip
    assert named == {
        "1": first["run_id"],
        "2": second["run_id"],
        "champion": champion["run_id"],
        "challenger": second["run_id"],
        first["digest"]: first["run_id"],
        first["run_id"][:8]: first["run_id"],
    }


def test_a_model_whose_run_is_gone_is_said_to_be_so(project: Project) -> None:
    """After a tracking store was deleted only the bundle is left."""
    first = Store(project.store).records()[0]["run_id"]
    runs.delete(project, ["1"], yes, force=True)
    with runs.opened(project) as found:
        with pytest.raises(MlrefError, match=f"Model '1' was published as run {first}, which the"):
            runs.resolve(project, found, "1")
        with pytest.raises(RunNotFound):
            runs.resolve(project, found, "7")


def test_a_run_that_made_a_registered_model_is_not_deleted(project: Project) -> None:
    """Unless that is insisted on."""
    before = state(project)
    with pytest.raises(
        MlrefError, match=r"made by ridge \w{8} \(version 2\), elastic_net .*--force"
    ):
        runs.delete(project, ["challenger", "1"], yes)
    assert state(project) == before


def test_a_model_that_only_mlflow_knows_counts_as_registered(project: Project) -> None:
    """Where another clone has registered it on a shared server."""
    record = Store(project.store).records()[0]
    (project.store / f"{record['digest']}.json").unlink()
    with pytest.raises(MlrefError, match=r"\(version 1\)"):
        runs.delete(project, [record["run_id"]], yes)


def test_a_run_goes_with_its_trials_and_comes_back_with_them(project: Project) -> None:
    """After consent to a table that counts them."""
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


def test_a_trial_is_deleted_once_when_it_is_named_beside_its_run(project: Project) -> None:
    """It goes with the run anyway."""
    record = Store(project.store).records()[0]
    with runs.opened(project) as found:
        trial = found.children(found.find(record["run_id"]))[0].run_id
    assert runs.delete(project, [trial, record["run_id"]], yes, force=True)
    assert len(names(project, trials=True)) == 4


@pytest.mark.parametrize("verb", ["delete", "restore"])
def test_without_consent_nothing_changes(verb: str, project: Project) -> None:
    """The answer tells the command line."""
    if verb == "restore":
        runs.delete(project, ["elastic_net 02"], yes)
    before = state(project)
    assert getattr(runs, verb)(project, ["elastic_net 02"], no) is None
    assert state(project) == before


@pytest.mark.parametrize("verb", ["delete", "restore"])
def test_a_kill_in_between_is_mended_by_the_same_command(
    verb: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials go first and come back first, so that their run can be named once more."""
    first = Store(project.store).records()[0]["run_id"]
    again = {"delete": lambda: runs.delete(project, [first], yes, force=True),
             "restore": lambda: runs.restore(project, [first], yes)}[verb]  # fmt: skip
    if verb == "restore":
        runs.delete(project, [first], yes, force=True)
    real, calls = getattr(tracking.Runs, verb), []

    def crash(self: tracking.Runs, run: tracking.Run) -> None:
        calls.append(run)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(self, run)

    with monkeypatch.context() as patch:
        patch.setattr(tracking.Runs, verb, crash)
        with pytest.raises(KeyboardInterrupt):
            again()
    assert "1 run and 2 trials" in str(again())
    assert len(names(project, trials=True)) == (4 if verb == "delete" else 9)


def test_the_run_of_the_present_model_is_published_anew_after_it_was_deleted(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deletion by force leaves no hole that `mlref register` would not see."""
    monkeypatch.setattr("mlref.registry.publish.draw", lambda *_: [])
    before = Store(project.store).records()[1]
    runs.delete(project, ["challenger"], yes, force=True)
    register.run(project)
    after = Store(project.store).records()[1]
    assert (after["version"], after["digest"]) == ("2", before["digest"])
    assert after["run_id"] != before["run_id"]
    assert len(names(project)) == 2


def test_looking_changes_nothing(project: Project) -> None:
    """A list, and a deletion that is not agreed to."""
    runs.listing(project)  # follows the moved clone once
    before = digest(project.root / "mlflow.db")
    runs.listing(project, trials=True)
    runs.delete(project, ["elastic_net 02"], no)
    assert digest(project.root / "mlflow.db") == before
