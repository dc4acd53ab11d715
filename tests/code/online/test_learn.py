"""`mlref learn`: what is learned, what is not and why, and the same bytes after every crash."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlref.bundle.store import Store
from mlref.cli import main
from mlref.core.contract import load
from mlref.core.errors import EnvironmentFault, MlrefError, NotReproduced
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, locked
from mlref.data.split import split
from mlref.data.tables import decode, row_ids
from mlref.online import learn as learning
from mlref.online.journal import Journal
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


def checkpoint(project: Project) -> Any:
    """What the learner made of it."""
    return json.loads((folder(project) / "checkpoint.json").read_bytes())


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
    assert learned.isdisjoint(trained) and why(project)["copy"] + why(project)["test set"] > 30
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
    assert [(event.again, event.scored is None) for event in found] == [
        (False, False),
        (True, True),
    ]
    assert found[1].label == 900.0 + ids.index(taken.id)
    assert Counter(event.why for event in events(project))["copy"] == 0


def test_learn_and_replay_twice_give_the_same_digest(project: Project, send: Send) -> None:
    send(market(200, 50, level=1))
    assert main(["learn"]) == 0
    kept = (folder(project) / "checkpoint.json").read_bytes()
    first, second = again(project), again(project)
    assert first == second and "200 events give the same bytes again" in first
    assert (folder(project) / "checkpoint.json").read_bytes() == kept


def test_learn_and_replay_after_three_kills_give_the_same_digest(
    project: Project, send: Send, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before a block is written, in the middle of it, and before its checkpoint."""
    monkeypatch.setattr(learning, "BLOCK", 2)
    send(market(100, 50, level=1))
    learn(project)
    files = [folder(project) / name for name in ("journal.jsonl", "checkpoint.json")]
    whole = [file.read_bytes() for file in files]
    add, blocks = Journal.add, [0]
    for file in files:
        file.unlink()

    def torn(journal: Journal, done: Any, state: Any) -> None:
        blocks[0] += 1
        if blocks[0] == 2:
            raise Crash
        older = journal.checkpoint.read_bytes() if journal.checkpoint.is_file() else b""
        add(journal, done, state)
        if blocks[0] == 3:
            journal.checkpoint.write_bytes(older)
            with journal.path.open("r+b") as file:
                file.truncate(len(journal.path.read_bytes()) - 700)
            raise Crash
        if blocks[0] == 5:
            journal.checkpoint.write_bytes(older)
            raise Crash

    monkeypatch.setattr(Journal, "add", torn)
    for _ in range(3):
        with pytest.raises(Crash):
            learn(project)
    learn(project)
    assert [file.read_bytes() for file in files] == whole
    assert "same bytes" in again(project)


def test_a_checkpoint_cut_in_half_is_written_again_from_the_journal(
    project: Project, send: Send
) -> None:
    send(market(40, 50))
    learn(project)
    file = folder(project) / "checkpoint.json"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    learn(project)
    assert file.read_bytes() == whole


def test_a_journal_that_was_edited_is_found(project: Project, send: Send) -> None:
    send(market(40, 50))
    learn(project)
    file = folder(project) / "journal.jsonl"
    first = next(event for event in events(project) if not event.why)
    file.write_text(file.read_text().replace(str(first.label), str(first.label + 1), 1))
    with pytest.raises(NotReproduced):
        learn(project)


def test_a_checkpoint_of_another_champion_is_refused(project: Project, send: Send) -> None:
    send(market(8, 50))
    learn(project)
    file = folder(project) / "journal.jsonl"
    file.write_text(
        file.read_text().replace(Store(project.store).alias("champion") or "", "0" * 64)
    )
    with pytest.raises(MlrefError, match="another champion"):
        learn(project)


def test_other_settings_do_not_go_on_with_a_journal(project: Project, send: Send) -> None:
    send(market(8, 50))
    learn(project)
    set_params(project, online={"rate": 0.1})
    with pytest.raises(MlrefError, match="another settings"):
        learn(project)


def test_two_learners_at_once_are_refused(project: Project) -> None:
    with locked(project.online / ".lock"), pytest.raises(EnvironmentFault, match="runs already"):
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
