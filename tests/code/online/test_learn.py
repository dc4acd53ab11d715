"""`mlref learn`: what is learned, what is not and why, and the same bytes after every crash."""

import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from mlref.bundle.store import Store
from mlref.cli import main
from mlref.core.contract import load
from mlref.core.errors import MlrefError, NotReproduced
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project
from mlref.data.split import split
from mlref.data.tables import decode, row_ids
from mlref.online import learn as learning
from mlref.online.learn import learn
from mlref.online.propose import again
from mlref.prediction_log import ground_truth
from mlref.prediction_log.database import Database
from mlref.prediction_log.ground_truth import Label
from mlref.registry.learned import Event, read
from tests.code.online.conftest import Send, market
from tests.projects import rents, set_params


class Crash(BaseException):
    """The process ends here."""


def folder(project: Project) -> Path:
    """Where the learner of the champion keeps its files."""
    name = Store(project.store).alias("champion") or ""
    return project.online / name[:12]


def events(project: Project) -> list[Event]:
    """What the learner has taken."""
    return read(folder(project) / "journal.jsonl")[1]


def correct(project: Project, *labels: Label) -> None:
    """Send labels of predictions that are logged."""
    database = Database.of(project)
    ground_truth.add(database, labels)
    database.close()


def why(project: Project) -> Counter[str]:
    """How many labels were not learned, by reason; the empty one was learned."""
    return Counter(event.why for event in events(project))


def test_only_new_rows_of_the_training_side_are_learned(project: Project, send: Send) -> None:
    send(rents()[:40])  # copies of the source
    fresh = market(80, 50, level=1)
    send(fresh)
    before = (project.store / "champion").read_bytes()
    said = learn(project)
    contract = load(project.contract)
    frame = decode(fresh, contract.columns)
    tested = split(contract, frame, load_settings(project.params).split)
    held = {name for name, one in zip(row_ids(contract, frame), tested, strict=True) if one}
    learned = {event.name for event in events(project) if not event.why}
    assert learned == {*row_ids(contract, frame)} - held and held
    trained = Store(project.store).rows(before.decode().strip()) or set()
    assert (
        learned.isdisjoint(trained) and why(project)["trained on"] + why(project)["test set"] > 30
    )
    assert f"120 labels taken, {len(learned)} learned." in said
    assert (project.store / "champion").read_bytes() == before, "users see nothing of it"
    assert [event.seq for event in events(project)] == list(range(1, 121)), "in order of arrival"


def test_rows_of_a_shadow_and_of_batch_scoring_are_not_taken(project: Project, send: Send) -> None:
    send(market(16, 50), role="shadow")
    send(market(16, 51), source="batch")
    assert learn(project).startswith("0 labels taken")


def test_batches_are_cut_by_count_and_the_rest_waits(project: Project, send: Send) -> None:
    send(market(13, 50))
    assert learn(project).startswith("8 labels taken")
    assert learn(project).startswith("8 labels taken"), "nothing is learned twice"
    send(market(3, 51))
    assert learn(project).startswith("16 labels taken")


def test_a_label_settles_first_and_a_later_correction_is_an_event_of_its_own(
    project: Project, send: Send
) -> None:
    set_params(project, online={"settle": 3600})
    ids = send(market(8, 50))
    assert learn(project).startswith("0 labels taken")
    set_params(project, online={"settle": 0})
    learn(project)
    taken = next(event for event in events(project) if not event.why)
    correct(project, *(Label(one, 900.0 + place) for place, one in enumerate(ids)))
    learn(project)
    found = [event for event in events(project) if event.name == taken.name]
    assert [event.scored is None for event in found] == [False, True]
    assert found[1].label == 900.0 + ids.index(taken.id)
    assert Counter(event.why for event in events(project))["copy"] == 0


def files(project: Project) -> list[bytes]:
    """All that the learner keeps."""
    return [(folder(project) / name).read_bytes() for name in ("journal.jsonl", "checkpoint.json")]


def test_learn_and_replay_twice_give_the_same_digest(project: Project, send: Send) -> None:
    send(market(200, 50, level=1))
    assert main(["learn"]) == 0
    kept = files(project)
    first, second = again(project), again(project)
    assert first == second and "200 events give the same bytes again" in first
    assert files(project) == kept


def test_learn_and_replay_after_three_kills_give_the_same_digest(
    project: Project, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before a block is written, after it, and before the checkpoint."""
    monkeypatch.setattr(learning, "BLOCK", 2)
    send(market(100, 50, level=1))
    learn(project)
    whole, write = files(project), learning.write
    shutil.rmtree(folder(project))
    for name, calls in (("write", 2), ("write", 3), ("seal", 1)):
        done = [write] * (calls - 1) + [Mock(side_effect=Crash)]
        with monkeypatch.context() as patch, pytest.raises(Crash):
            patch.setattr(learning, name, lambda *about, done=iter(done): next(done)(*about))
            learn(project)
    learn(project)
    assert files(project) == whole and "same bytes" in again(project)


def test_learn_killed_by_the_system_goes_on(project: Project, send: Send) -> None:
    """`kill -9` while it writes blocks; meanwhile another learner waits for its turn."""
    send(market(400, 50, level=1))
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


def test_a_checkpoint_cut_in_half_is_written_again_from_the_journal(
    project: Project, send: Send
) -> None:
    send(market(40, 50))
    learn(project)
    whole = files(project)
    (folder(project) / "checkpoint.json").write_bytes(whole[1][: len(whole[1]) // 2])
    learn(project)
    assert files(project) == whole


@pytest.mark.parametrize("file", ["journal", "checkpoint"])
def test_an_edited_file_is_found(project: Project, send: Send, file: str) -> None:
    send(market(40, 50))
    learn(project)
    first = next(event for event in events(project) if not event.why)
    old, new = {"journal": (first.label, first.label + 1), "checkpoint": ("resets", "rests")}[file]
    (path,) = folder(project).glob(f"{file}.*")
    path.write_text(path.read_text().replace(str(old), str(new), 1))
    with pytest.raises(NotReproduced):
        learn(project)


@pytest.mark.parametrize("other", ["champion", "settings", "nothing"])
def test_a_journal_of_another_champion_or_of_other_settings_is_refused(
    project: Project, send: Send, other: str
) -> None:
    send(market(8, 50))
    learn(project)
    journal = folder(project) / "journal.jsonl"
    text, name = journal.read_text(), Store(project.store).alias("champion") or ""
    if other == "settings":
        set_params(project, online={"rate": 0.1})
    journal.write_text(text.replace(name, "0" * 64) if other == "champion" else text)
    if other == "nothing":
        journal.write_text("[1]" + text)
    with pytest.raises(MlrefError, match="another champion or of other|no journal"):
        learn(project)


def test_poisoned_labels_are_counted_and_the_loss_does_not_explode(
    project: Project, send: Send
) -> None:
    """One label in twenty is ten times as large."""
    poisoned = market(400, 50)
    poisoned.loc[::20, "rent"] = (10 * poisoned["rent"]).clip(upper=20_000)
    send(poisoned)
    champion = Store(project.store).alias("champion")
    learn(project)
    assert why(project)["strange"] + why(project)["test set"] >= 20 and why(project)["strange"] > 10
    learned = [event for event in events(project) if event.scored is not None]
    error, frozen = (
        np.mean([(event.label - getattr(event, name)) ** 2 for event in learned])
        for name in ("scored", "champion")
    )
    assert error < 1.1 * frozen and Store(project.store).alias("champion") == champion


@pytest.mark.parametrize("factor", [18.0, 0.1])
def test_labels_in_another_unit_are_not_learned(
    project: Project, send: Send, factor: float
) -> None:
    frame = market(80, 50)
    send(frame.assign(rent=(factor * frame["rent"]).clip(upper=20_000)))
    learn(project)
    assert why(project)[""] == 0 and why(project)["strange"] + why(project)["shift"] > 40


def test_a_source_has_a_quota_an_hour(project: Project, send: Send) -> None:
    set_params(project, online={"quota": 20})
    send(market(64, 50), who="one clinic")
    send(market(16, 51), who="another")
    learn(project)
    taken = Counter(event.source for event in events(project) if not event.why)
    assert taken["one clinic"] == 20 and taken["another"] > 5 and why(project)["quota"] > 20


def test_labels_that_are_not_allowed_any_more_are_not_learned(project: Project, send: Send) -> None:
    send(market(8, 50))
    database = Database.of(project)
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE label_events SET value = 25000")
    database.close()
    learn(project)
    assert set(why(project)) <= {"not allowed", "test set"} and why(project)["not allowed"]


def test_labels_out_of_order_are_learned_as_they_came(project: Project, send: Send) -> None:
    ids = send(market(16, 50))
    database = Database.of(project)
    with database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM label_events")
    ground_truth.add(database, [Label(one, 900.0 + at) for at, one in enumerate(reversed(ids))])
    database.close()
    learn(project)
    assert [event.id for event in events(project)] == ids[::-1]


def test_nothing_is_learned_while_labels_have_nearly_ceased_to_come(
    project: Project, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "RECENT", 100)
    send(market(120, 50))
    later = market(240, 51)
    pairs = [*zip(send(later), later["rent"].tolist(), strict=True)][::15]
    database = Database.of(project)
    with database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM label_events WHERE seq > 120")
    learn(project)
    ground_truth.add(database, [Label(one, value) for one, value in pairs])
    database.close()
    learn(project)
    assert Counter(event.why for event in events(project)[120:])[""] == 0
    assert why(project)["label coverage"] > 0
