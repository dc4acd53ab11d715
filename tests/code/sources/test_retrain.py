"""Labelled predictions become rows of the source, and a model of them goes before the gate."""

import datetime
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mlref.bundle.store import Store
from mlref.cli import main
from mlref.core.contract import load
from mlref.core.errors import EnvironmentFault, MlrefError
from mlref.core.storage import Project, locked, read_json
from mlref.data.tables import decode, read_csv, read_parquet, row_ids
from mlref.registry import audit
from mlref.registry.register import Since
from mlref.sources import retrain as retraining
from mlref.sources.retrain import retrain
from tests.projects import only_what_the_gate_reads, rents, run_data, run_model, set_params
from tests.traffic import label, send

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


def stages(project: Project, lock: int, report: Any) -> None:
    """The pipeline in this process, as far as the gate reads it."""
    with pytest.MonkeyPatch.context() as patch:
        only_what_the_gate_reads(patch)
        run_data(project)
        run_model(project)


@pytest.fixture
def project(published: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A registered project, whose pipeline runs in this process; a retraining asks for 40 rows."""
    monkeypatch.setattr(retraining, "_pipeline", stages)
    monkeypatch.chdir(published.root)
    set_params(published, retrain={"rows": 40}, register={"slice_margin": 0.5})
    return published


@pytest.fixture
def briefly(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends before the model: rows are ingested and split, and nothing is registered."""
    said = {"gate": {"verdict": "keep", "reasons": []}, "version": 2}
    monkeypatch.setattr(retraining, "_pipeline", lambda clone, *_: run_data(clone))
    monkeypatch.setattr(retraining.register, "run", lambda *_: (said, False))


def added(project: Project) -> list[Path]:
    """The files of labelled rows."""
    return sorted((project.root / "data" / "source" / "labels").glob("*"))


def other_market(rows: int = 150, seed: int = 50) -> pd.DataFrame:
    """Rents after a change: each is higher by one standard deviation of the error."""
    frame = rents(rows, seed)
    return frame.assign(rent=frame["rent"] + 60)


@pytest.mark.usefixtures("briefly")
def test_labelled_predictions_become_rows_once(project: Project) -> None:
    before = len(read_csv(project.raw))
    send(project, rents(60, seed=50))
    said = retrain(project)
    assert "New rows: 60." in said and "Verdict: keep." in said
    assert len(read_csv(project.raw)) == before + 60
    [file] = added(project)
    assert "predicted_at" in file.read_text() and "predicted_at" not in project.raw.read_text()
    assert retrain(project).startswith("New rows: 0.") and added(project) == [file]


def test_since_a_change_only_newer_rows_are_learned_and_compared(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time nothing is left to do: DVC finds equal rows and trains no model."""
    send(project, rents(30, seed=50))
    change = Since(datetime.datetime.now(datetime.UTC), "a new rent index")
    send(project, other_market())
    said = retrain(project, change)
    assert "Verdict: promote. Version 2 is the champion." in said
    train, contract = read_parquet(project.train), load(project.contract)
    new = set(row_ids(contract, decode(other_market(), contract.columns)))
    assert {*row_ids(contract, train)} < new, "rows of the old market are not learned"
    assert not new.isdisjoint(row_ids(contract, read_parquet(project.holdout))), "the split decides"
    assert read_json(project.gate)["since"] == change.time.isoformat()
    trail = audit.read(Store(project.store))
    assert trail[-1]["reason"].startswith("a new rent index:")
    monkeypatch.setattr(retraining, "_pipeline", lambda clone, *_: run_data(clone))
    assert retrain(project, change).startswith("New rows: 0.")
    assert audit.read(Store(project.store)) == trail


@pytest.mark.usefixtures("briefly")
def test_old_rows_are_kept_where_the_settings_say_so(project: Project) -> None:
    set_params(project, retrain={"old_rows": "keep"})
    send(project, other_market(60))
    retrain(project, Since(LONG_AGO, "a new rent index"))
    assert len(read_parquet(project.train)) > 60
    assert [path.suffix for path in added(project)] == [".csv"]


@pytest.mark.usefixtures("briefly")
def test_the_latest_label_of_a_row_counts_and_the_source_is_not_contradicted(
    project: Project,
) -> None:
    fresh = rents(3, seed=50)
    ids = send(
        project, pd.concat([fresh, fresh[:1].assign(rent=4000.0), rents()[:1].assign(rent=10.0)])
    )
    label(project, [ids[1]], [5000.0])
    said = retrain(project, dry_run=True)
    assert "New rows: 3." in said and "stays as it is: 1." in said and added(project) == []
    retrain(project)
    [file] = added(project)
    rows = read_csv(file).set_index("area")["rent"].astype(float)
    assert rows[str(fresh["area"][0])] == 4000.0 and rows[str(fresh["area"][1])] == 5000.0


def test_a_poisoned_batch_of_labels_is_refused_and_its_source_named(project: Project) -> None:
    """5 % of the labels are ten times as large, such as a rent in another currency."""
    frame, champion = rents(200, seed=50), Store(project.store).alias("champion")
    poisoned = frame[:10].assign(rent=(frame["rent"][:10] * 10).clip(upper=20_000))
    send(project, frame[10:])
    send(project, poisoned, "clinic 3")
    with pytest.raises(MlrefError, match=r"10 of 200 new labels \(5.0%; .*sources: clinic 3"):
        retrain(project, Since(LONG_AGO, "the loss has grown"))
    assert added(project) == [] and Store(project.store).alias("champion") == champion


@pytest.mark.usefixtures("briefly")
def test_labels_of_one_source_are_refused_where_two_are_asked_for(project: Project) -> None:
    set_params(project, retrain={"sources": 2})
    send(project, rents(40, seed=50), "clinic 3")
    with pytest.raises(MlrefError, match=r"All 40 new labels are from 1 source \(clinic 3\)"):
        retrain(project)
    send(project, rents(40, seed=51), "registry")
    assert "New rows: 80." in retrain(project)


@pytest.mark.usefixtures("briefly")
def test_after_a_large_change_all_labels_are_far_and_none_is_strange(project: Project) -> None:
    send(project, other_market(60).assign(rent=lambda frame: frame["rent"] * 1.5))
    assert "New rows: 60." in retrain(project, Since(LONG_AGO, "a new rent index"))


def test_too_few_rows_since_the_change_are_refused(project: Project) -> None:
    with pytest.raises(MlrefError, match="No prediction in the log has a label"):
        retrain(project)
    send(project, rents(39, seed=50))
    with pytest.raises(MlrefError, match="Only 39 labelled rows are from after"):
        retrain(project, Since(LONG_AGO, "the loss has grown"))


def test_a_pipeline_that_stops_takes_back_what_was_added(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(project, rents(60, seed=50))

    def stop(*_: object) -> None:
        assert [path.name for path in added(project)][1:] == ["since.txt"]
        raise MlrefError("The pipeline stopped")

    monkeypatch.setattr(retraining, "_pipeline", stop)
    with pytest.raises(MlrefError, match="stopped"):
        retrain(project, Since(LONG_AGO, "the loss has grown"))
    assert added(project) == []


def test_a_second_retraining_waits_for_the_first(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    send(project, rents(60, seed=50))
    with locked(project.store / ".retrain"):
        with pytest.raises(EnvironmentFault, match="A retraining runs already"):
            retrain(project)
    assert added(project) == []
    assert main(["retrain", "--since", "2020-01-01"]) == 2
    assert "need each other" in capsys.readouterr().err
    assert main(["retrain", "--dry-run"]) == 0
    assert "New rows: 60." in capsys.readouterr().out


def test_a_contract_that_names_rows_by_another_column_is_sent_to_a_file(project: Project) -> None:
    text = project.contract.read_text()
    project.contract.write_text(f"{text}identity: [home]\n")
    with pytest.raises(MlrefError, match="has no home, which names .* `mlref labels import FILE`"):
        retrain(project)


@pytest.mark.parametrize("words", ["", "soon"])
def test_a_time_of_a_change_that_is_none_is_named(project: Project, words: str) -> None:
    (project.root / "data/source/labels").mkdir()
    (project.root / "data/source/labels/since.txt").write_text(words)
    with pytest.raises(MlrefError, match="since.txt: .* is no time such as 2026"):
        run_data(project)


def test_the_stages_run_by_dvc_though_a_kill_has_torn_its_lock(published: Project) -> None:
    """One stage in place of seven, which fails at last; DVC is the real one."""
    code = "open('made', 'w'); exit(1)"
    stage = f'stages:\n  one:\n    cmd: {sys.executable} -c "{code}"\n    outs: [made]\n'
    (published.root / "dvc.yaml").write_text(stage)
    subprocess.run(["git", "init", "-q"], cwd=published.root, check=True)
    (published.root / ".dvc").mkdir()
    (published.root / ".dvc" / "config").touch()
    published.lock.write_text("schema: '2.0'\nstages:\n  one: {cm")
    seen: list[str] = []
    with (
        locked(published.store / ".retrain") as lock,
        pytest.raises(MlrefError, match="taken back"),
    ):
        retraining._pipeline(published, lock, seen.append)
    assert (published.root / "made").exists() and seen == ["Running stage 'one':"]
