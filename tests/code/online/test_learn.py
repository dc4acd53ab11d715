"""`mlref learn`: what is learned, what is not and why, and the same bytes after every crash."""

import shutil
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from mlref.bundle.store import Store
from mlref.cli import main
from mlref.core.contract import SplitBy, load, parse
from mlref.core.errors import MlrefError, NotReproduced
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project
from mlref.data.split import split
from mlref.data.tables import decode, row_ids
from mlref.online import learn as learning
from mlref.online.guards import check
from mlref.online.learn import learn
from mlref.online.propose import again
from mlref.registry import learned
from mlref.registry.learned import Event, read
from tests.code.online.conftest import market
from tests.fakes import CONTRACT_TEXT
from tests.projects import rents, set_params
from tests.traffic import label, send

pytestmark = pytest.mark.xdist_group(
    "online"
)  # one worker makes what was learned, the other goes on


class Crash(BaseException):
    """The process ends here."""


def folder(project: Project) -> Path:
    """Where the learner of the champion keeps its files."""
    name = Store(project.store).alias("champion") or ""
    return project.online / name[:12]


def events(project: Project) -> list[Event]:
    """What the learner has taken."""
    return read(folder(project) / "journal.jsonl")[1]


def why(project: Project) -> Counter[str]:
    """How many labels were not learned, by reason; the empty one was learned."""
    return Counter(event.why for event in events(project))


def test_only_new_rows_of_the_training_side_are_learned(project: Project) -> None:
    send(project, rents()[:40])  # copies of the source
    fresh = market(80, 50, level=1)
    send(project, fresh)
    champion, said = Store(project.store).alias("champion") or "", learn(project)
    contract = load(project.contract)
    frame = decode(fresh, contract.columns)
    tested = split(contract, frame, load_settings(project.params).split)
    names, counts = np.array(row_ids(contract, frame)), why(project)
    new = {event.name for event in events(project) if not event.why}
    assert new == {*names[~tested]} and tested.any()
    assert counts["trained on"] + counts["test set"] == 40 + tested.sum()
    assert f"120 labels taken, {len(new)} learned." in said
    assert Store(project.store).alias("champion") == champion, "users see nothing of it"
    assert [event.seq for event in events(project)] == [*range(1, 121)], "in order of arrival"


def test_batches_are_cut_by_count_and_the_rest_waits(project: Project) -> None:
    """Rows of a shadow and of batch scoring are not taken at all."""
    send(project, market(16, 60), role="shadow")
    send(project, market(16, 61), source="batch")
    ids = send(project, market(13, 50), labelled=slice(None, None, -1))
    assert learn(project).startswith("8 labels taken")
    assert [event.id for event in events(project)] == ids[:4:-1], "as the labels came"
    assert learn(project).startswith("8 labels taken"), "nothing is learned twice"
    send(project, market(3, 51))
    assert learn(project).startswith("16 labels taken")


def test_a_label_settles_first_and_a_later_correction_is_an_event_of_its_own(
    project: Project,
) -> None:
    set_params(project, online={"settle": 3600})
    frame = market(8, 50)
    ids = send(project, frame)
    assert learn(project).startswith("0 labels taken")
    set_params(project, online={"settle": 0})
    learn(project)
    label(project, ids, (frame["rent"] + 1).tolist())
    learn(project)
    first, second = events(project)[:8], events(project)[8:]
    assert [(e.id, e.why, e.label + 1) for e in first] == [(e.id, e.why, e.label) for e in second]
    assert all(e.scored is not None for e in first if not e.why)
    assert {e.scored for e in second} == {None}, "the learner knew the row"


def files(project: Project) -> list[bytes]:
    """All that the learner keeps."""
    return [(folder(project) / name).read_bytes() for name in ("journal.jsonl", "checkpoint.json")]


def test_learn_and_replay_after_three_kills_give_the_same_digest(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before a block is written, after it, and before the checkpoint; replayed twice."""
    monkeypatch.setattr(learning, "BLOCK", 2)
    send(project, market(100, 50, level=1))
    assert main(["learn"]) == 0
    whole, write = files(project), learned.write
    shutil.rmtree(folder(project))
    for name, calls in (("write", 2), ("write", 3), ("seal", 1)):
        done = [write] * (calls - 1) + [Mock(side_effect=Crash)]
        with monkeypatch.context() as patch, pytest.raises(Crash):
            patch.setattr(learning, name, lambda *about, done=iter(done): next(done)(*about))
            learn(project)
    learn(project)
    assert files(project) == whole
    first, second = again(project), again(project)
    assert first == second and "96 events give the same bytes again" in first
    assert files(project) == whole


@pytest.mark.load
def test_learn_killed_by_the_system_goes_on(project: Project) -> None:
    """`kill -9` while it writes blocks."""
    send(project, market(400, 50, level=1))
    learn(project)
    whole = files(project)
    shutil.rmtree(folder(project))
    code = (
        "from mlref.online import learn; from mlref.core.storage import Project; learn.BLOCK = 1;"
    )
    code += "learn.learn(Project.here())"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        while not (journal := folder(project) / "journal.jsonl").is_file():
            assert process.poll() is None
        process.kill()
    assert process.returncode == -signal.SIGKILL and 0 < len(read(journal)[1]) < 400
    learn(project)
    assert files(project) == whole


def test_two_learners_at_once_take_turns(project: Project) -> None:
    send(project, market(40, 50))
    with ThreadPoolExecutor() as pool:
        said = [*pool.map(learn, [project] * 3)]
    assert len({*said}) == 1 and [e.seq for e in events(project)] == [*range(1, 41)]


def test_a_cut_checkpoint_is_written_again_and_an_edited_file_is_found(project: Project) -> None:
    send(project, market(40, 50))
    learn(project)
    whole = files(project)
    journal, checkpoint = (folder(project) / one for one in ("journal.jsonl", "checkpoint.json"))
    checkpoint.write_bytes(whole[1][: len(whole[1]) // 2])
    learn(project)
    assert files(project) == whole
    first = next(event for event in events(project) if not event.why)
    edits = {journal: (first.label, first.label + 1), checkpoint: ("resets", "rests")}
    for path, (old, new) in edits.items():
        kept = path.read_text()
        path.write_text(kept.replace(str(old), str(new), 1))
        with pytest.raises(NotReproduced):
            learn(project)
        path.write_text(kept)


def test_a_journal_of_another_champion_or_of_other_settings_is_refused(project: Project) -> None:
    send(project, market(8, 50))
    learn(project)
    journal = folder(project) / "journal.jsonl"
    kept = journal.read_text()
    for old, new in (("{", "[1]{"), ("champion", "other"), ("0.02", "0.1")):
        journal.write_text(kept.replace(old, new, 1))
        with pytest.raises(MlrefError, match="another champion or of other|no journal"):
            learn(project)


def test_poisoned_labels_are_counted_and_the_loss_does_not_explode(project: Project) -> None:
    """One label in twenty is ten times as large."""
    poisoned = market(400, 50)
    poisoned.loc[::20, "rent"] = (10 * poisoned["rent"]).clip(upper=20_000)
    send(project, poisoned)
    champion = Store(project.store).alias("champion")
    learn(project)
    assert 10 < why(project)["strange"] <= 20
    rows = [event for event in events(project) if event.scored is not None]
    label, scored, frozen = np.array([(e.label, e.scored, e.champion) for e in rows]).T
    assert np.mean((label - scored) ** 2) < 1.1 * np.mean((label - frozen) ** 2)
    assert Store(project.store).alias("champion") == champion


@pytest.mark.parametrize("factor", [18.0, 0.1])
def test_labels_in_another_unit_are_not_learned(project: Project, factor: float) -> None:
    frame = market(80, 50)
    send(project, frame.assign(rent=(factor * frame["rent"]).clip(upper=20_000)))
    learn(project)
    assert why(project)[""] == 0 and why(project)["strange"] + why(project)["shift"] > 40


def test_a_source_has_a_quota_an_hour_and_a_copy_is_not_learned(project: Project) -> None:
    set_params(project, online={"quota": 20})
    send(project, market(64, 50), who="one clinic")
    send(project, market(16, 51), who="another")
    send(project, market(16, 51), who="a third")
    learn(project)
    taken = Counter(event.source for event in events(project) if not event.why)
    assert (
        {*taken} == {"one clinic", "another"} and taken["one clinic"] == 20 and taken["another"] > 5
    )
    assert why(project)["quota"] > 20 and why(project)["copy"] == taken["another"]


def test_labels_that_are_not_allowed_any_more_are_not_learned(project: Project) -> None:
    label(project, send(project, market(8, 50), labelled=slice(0)), [25_000.0] * 8)
    learn(project)
    assert {*why(project)} <= {"not allowed", "test set"} and why(project)["not allowed"]


def test_nothing_is_learned_while_labels_have_nearly_ceased_to_come(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "RECENT", 100)
    send(project, market(120, 50))
    learn(project)
    send(project, market(240, 51), labelled=slice(0, None, 15))
    learn(project)
    assert {event.why for event in events(project)[120:]} == {"label coverage", "test set"}


def test_a_contract_that_divides_by_time_is_refused() -> None:
    contract = parse(CONTRACT_TEXT, "dataset.yaml")
    by_time = contract.model_copy(update={"split": SplitBy(by="time", column="area")})
    with pytest.raises(MlrefError, match="divides by time"):
        check(by_time)


def test_a_bundle_without_out_of_fold_errors_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As older versions have written them, and others may."""
    opened = Store.open

    def older(store: Store, name: str) -> Any:
        predictor, record = opened(store, name)
        del predictor.intervals["out_of_fold"]
        return predictor, record

    monkeypatch.setattr(Store, "open", older)
    assert main(["learn"]) == 1
    assert "no out-of-fold errors" in capsys.readouterr().err
