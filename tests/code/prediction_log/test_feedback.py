"""Feedback: each label is accepted, duplicate, conflicting or unknown; sending it again changes nothing."""

import datetime
import threading

import pytest

from mlref.prediction_log.database import Database
from mlref.prediction_log.feedback import AT_ONCE, Feedback, add
from mlref.prediction_log.labels import Label
from mlref.prediction_log.retention import before, delete
from tests.code.prediction_log.records import HOUR, NOON, at, predicted, rows
from tests.code.prediction_log.test_sink import write

FIRST, SECOND, THIRD = (at(NOON, number) for number in (1, 2, 3))


def fill(database: Database) -> None:
    """Three predictions of noon."""
    write(database, predicted(3, ids=[FIRST, SECOND, THIRD]))


def stored(database: Database) -> dict[str, float]:
    """The labels that are in the database."""
    return {row["prediction_id"]: row["value"] for row in rows(database, "labels")}


def test_a_label_is_stored_with_when_and_by_whom_it_was_observed(database: Database) -> None:
    """And when it came."""
    fill(database)
    assert add(database, [Label(FIRST, 850.5, NOON, "agency")]) == Feedback(accepted=[FIRST])
    [row] = rows(database, "labels")
    assert (row["prediction_id"], row["value"], row["source"]) == (FIRST, 850.5, "agency")
    assert row["received"] is not None


def test_sending_labels_again_changes_nothing(database: Database) -> None:
    """They are duplicates, even when they are said to be observed at another time."""
    fill(database)
    labels = [Label(FIRST, 850, NOON), Label(SECOND, 900)]
    add(database, labels)
    before = rows(database, "labels")
    again = [Label(FIRST, 850, NOON + HOUR, "another"), Label(SECOND, 900)]
    assert add(database, again) == Feedback(duplicate=[FIRST, SECOND])
    assert rows(database, "labels") == before


def test_another_value_is_conflicting_and_the_first_one_stays(database: Database) -> None:
    """Nobody can tell which is right; a person has to."""
    fill(database)
    add(database, [Label(FIRST, 850)])
    assert add(database, [Label(FIRST, 851)]) == Feedback(conflicting=[FIRST])
    assert stored(database) == {FIRST: 850}


@pytest.mark.parametrize(
    "name", [at(NOON, 9), "", "x", FIRST.upper(), f"{FIRST}'; DROP TABLE labels; --", "患者", "\0", "\ud800"]
)  # fmt: skip
def test_a_prediction_that_is_not_there_is_unknown(database: Database, name: str) -> None:
    """Whatever its id is."""
    fill(database)
    assert add(database, [Label(name, 850)]) == Feedback(unknown=[name])
    assert stored(database) == {}


def test_a_label_may_come_late_until_its_prediction_is_deleted(database: Database) -> None:
    """After that it is unknown."""
    fill(database)
    late = NOON + 10_000 * HOUR
    assert add(database, [Label(FIRST, 850, late)]).accepted == [FIRST]
    delete(database, before(NOON + HOUR))
    assert add(database, [Label(FIRST, 850, late)]).unknown == [FIRST]


def test_a_label_may_come_before_its_prediction_and_is_then_sent_again(database: Database) -> None:
    """It waits for nobody."""
    assert add(database, [Label(FIRST, 850)]).unknown == [FIRST]
    fill(database)
    assert add(database, [Label(FIRST, 850)]).accepted == [FIRST]


def test_labels_of_one_request_are_taken_one_by_one(database: Database) -> None:
    """Of two for one prediction the first counts; the answer names each in its order."""
    fill(database)
    add(database, [Label(THIRD, 1)])
    labels = [
        Label(SECOND, 900), Label("gone", 1), Label(FIRST, 850), Label(SECOND, 900),
        Label(FIRST, 851), Label(THIRD, 2), Label(THIRD, 1), Label("gone", 1),
    ]  # fmt: skip
    assert add(database, labels) == Feedback(
        accepted=[SECOND, FIRST], duplicate=[SECOND, THIRD], conflicting=[FIRST, THIRD],
        unknown=["gone", "gone"],
    )  # fmt: skip
    assert stored(database) == {FIRST: 850, SECOND: 900, THIRD: 1}


def test_many_labels_may_come_at_once(database: Database) -> None:
    """In several transactions, and again."""
    record = predicted(2 * AT_ONCE + 1)
    write(database, record)
    labels = [Label(name, 850) for name in record.ids]
    assert add(database, iter(labels)).accepted == record.ids
    assert add(database, labels).duplicate == record.ids


def test_a_label_belongs_to_the_shadow_too(database: Database) -> None:
    """Both have answered under one id; the label is accepted once."""
    champion = predicted()
    write(database, champion, champion._replace(role="shadow"))
    assert add(database, [Label(champion.ids[0], 850)]).accepted == champion.ids
    assert len(stored(database)) == 1


def test_no_label_is_no_transaction(database: Database) -> None:
    """An empty request is answered by nothing."""
    assert add(database, []) == Feedback()


def test_observed_moments_are_kept_in_utc(database: Database) -> None:
    """Wherever the observer lives."""
    fill(database)
    cet = datetime.timezone(datetime.timedelta(hours=1))
    add(database, [Label(FIRST, 1, datetime.datetime(2026, 11, 24, 13, tzinfo=cet))])
    assert rows(database, "labels")[0]["observed_at"] == NOON


def test_of_two_processes_that_send_the_same_labels_one_is_accepted(database: Database) -> None:
    """For each label, in whatever order they send them; neither waits for the other for ever."""
    record = predicted(300)
    write(database, record)
    labels = [Label(name, 850) for name in record.ids]
    answers: list[Feedback] = []
    threads = [
        threading.Thread(target=lambda order=order: answers.append(add(database, labels[::order])))
        for order in (1, -1, 1, -1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for one in answers for name in one.accepted) == record.ids
    assert sum(len(one.duplicate) for one in answers) == 900
