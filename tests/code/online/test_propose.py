"""`mlref learn --propose`: what was learned goes before the gate like any other candidate."""

import datetime
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlref.bundle.store import Store
from mlref.cli import main
from mlref.core.errors import MlrefError
from mlref.core.storage import Project, read_json, write_json
from mlref.data.tables import read_parquet, row_ids
from mlref.online.learn import learn
from mlref.online.propose import again, propose
from mlref.prediction_log.ids import moment
from mlref.registry import audit, lineage, register
from mlref.registry.learned import read
from tests.code.online.conftest import market
from tests.projects import copy, only_what_the_gate_reads, set_params
from tests.traffic import send

pytestmark = pytest.mark.xdist_group(
    "online"
)  # one worker makes what was learned, the other goes on


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as the gate reads the evaluation."""
    only_what_the_gate_reads(monkeypatch)


@pytest.fixture
def promoted(proposed: Project, tmp_path: Path) -> Project:
    """A project whose champion has learned online, to change."""
    return copy(proposed, tmp_path / "promoted")


def test_after_a_change_the_gate_promotes_what_was_learned(
    learned: Project, promoted: Project
) -> None:
    """`make train` then changes nothing, though on old rows the old model would win."""
    store, before = Store(promoted.store), Store(learned.store).alias("champion") or ""
    said = (promoted.root / "said").read_text()
    assert "Verdict: promote. Version 2 is the champion." in said and "ADWIN saw a change" in said
    assert "that it predicted before it learned them" in said
    _, record = store.open("champion")
    head, events = read(store.journal(record["digest"]))
    names = {event.name for event in events if not event.why}
    assert store.rows(record["digest"]) == (store.rows(before) or frozenset()) | names
    assert record["learned_from"] == head["champion"] == before
    assert audit.read(store)[-1]["since"] == record["since"]["time"]
    since = moment(events[150].id) - datetime.datetime.fromisoformat(record["since"]["time"])
    assert abs(since) < datetime.timedelta(seconds=5)
    _, champion = register.run(promoted)
    assert not champion and len(audit.read(store)) == 2


def test_a_dry_run_says_that_nothing_is_better_without_a_change_and_writes_nothing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    send(project, market(200, 50))
    learn(project)
    files = {f: f.stat().st_mtime_ns for f in (project.root / "reports").rglob("*") if f.is_file()}
    assert main(["learn", "--propose", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "ADWIN" not in said and "The gate would say: keep." in said
    assert "not shown to be better" in said
    assert len(Store(project.store).records()) == 1
    assert files == {f: f.stat().st_mtime_ns for f in files}


def test_a_champion_that_has_learned_can_learn_on(promoted: Project) -> None:
    """Its rows are those of all journals before it."""
    set_params(promoted, register={"largest_old_loss": 5})
    send(promoted, market(150, 52, level=1.2))
    send(promoted, market(350, 53, level=2.7))
    learn(promoted)
    assert "Version 3" in propose(promoted)
    store = Store(promoted.store)
    first, second, third = store.records()
    assert [third["learned_from"], second["learned_from"]] == [second["digest"], first["digest"]]
    train = read_parquet(promoted.online / "proposal" / "data" / "split" / "train.parquet")
    contract = store.open("champion")[0].contract
    assert {*row_ids(contract, train)} == store.rows(third["digest"])


def test_lineage_replays_the_journals_from_the_trained_model(
    proposed: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The stages and the command run in this process; everything else is as in a checkout."""
    store, clone = Store(proposed.store), Project(tmp_path / "verify")
    for part in ("config", "data", "models", "reports"):
        shutil.copytree(proposed.root / part, clone.root / part)
    shutil.rmtree(clone.root / "models" / "store")
    shutil.rmtree(clone.online)

    monkeypatch.setattr(lineage, "_run_stage", lambda other, *_: again(other))
    lines, name = list[str](), store.alias("champion") or ""
    assert lineage._replayed(clone, store.journal(name), lines.append) == name
    assert "the same bytes" in lines[0]
    assert lineage.describe(store, "champion")["learned_from"] == store.records()[0]["digest"]


@pytest.mark.parametrize(
    ("settings", "model", "words"),
    [
        ({"rows": 1000}, "elastic_net", "labels were learned"),
        ({"sources": 2}, "elastic_net", "no name"),
        ({}, "mean", "another training"),
    ],
)
def test_too_few_labels_or_sources_or_other_reports_are_refused(
    learned: Project, tmp_path: Path, settings: dict[str, Any], model: str, words: str
) -> None:
    changed = copy(learned, tmp_path / "changed")
    set_params(changed, retrain=settings)
    write_json(changed.tuning, read_json(changed.tuning) | {"model": model})
    with pytest.raises(MlrefError, match=words):
        propose(changed)


def test_without_labels_there_is_nothing_to_replay(project: Project) -> None:
    with pytest.raises(MlrefError, match="no journal"):
        again(project)
