"""Labels are validated, then appended; the answer says what became of each."""

from collections import Counter
from functools import partial
from typing import Any

import pytest

from mlref.core.errors import RowsRefused
from mlref.core.storage import Project
from mlref.prediction_log.database import Database
from mlref.prediction_log.ground_truth import LONGEST, Feedback, Label, add, read
from mlref.prediction_log.ids import to_text
from tests.code.prediction_log.records import (
    HOUR,
    NOON,
    at,
    moment,
    predicted,
    rows,
    together,
    write,
)
from tests.fakes import CONTRACT

FIRST, SECOND, THIRD = (at(NOON, number) for number in (1, 2, 3))
TOLD, LATER = to_text(NOON), to_text(NOON + HOUR)


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ({"id": FIRST, "value": 850}, Label(FIRST, 850.0)),
        ({"id": FIRST, "value": 0, "observed_at": None, "source": None}, Label(FIRST, 0.0)),
        ({"id": FIRST, "value": 1, "observed_at": "2026-11-24T12:00:00Z"}, Label(FIRST, 1, TOLD)),
        ({"id": FIRST, "value": 1, "observed_at": "2026-11-24T13:00+01:00"}, Label(FIRST, 1, TOLD)),
        ({"id": "患者", "value": 1, "source": "naïve"}, Label("患者", 1, None, "naïve")),
    ],
)
def test_a_label_is_read_from_json(given: dict[str, Any], label: Label) -> None:
    assert read(CONTRACT.target, [given]) == [label]


WORDS = f"printable text of 1 to {LONGEST} characters"
ID = f"the id of a prediction: {WORDS}"
RENT = "a number from 0 to 20000 (euro)"
KEYS = "id, value, observed_at, source"
MOMENT = "a date and time with its zone, such as 2026-11-24T12:00:00Z"


@pytest.mark.parametrize(
    ("given", "column", "allowed"),
    [
        ("text", None, f"an object with the keys {KEYS}"),
        ({"value": 1}, "id", ID),
        ({"id": 7, "value": 1}, "id", ID),
        ({"id": "x" * 201, "value": 1}, "id", ID),
        ({"id": "\0", "value": 1}, "id", ID),
        ({"id": "\ud800", "value": 1}, "id", ID),
        ({"id": FIRST}, "value", RENT),
        *(
            ({"id": FIRST, "value": value}, "value", RENT)
            for value in (None, True, "850", float("nan"), float("inf"), 10**400, -1, [1], {})
        ),
        ({"id": FIRST, "value": 1, "valeu": 1}, "valeu", KEYS),
        ({"id": FIRST, "value": 1, "source": 7}, "source", WORDS),
        *(
            ({"id": FIRST, "value": 1, "observed_at": moment}, "observed_at", MOMENT)
            for moment in ("yesterday", "2026-11-24", 1.5, "0001-01-01T00:00+14:00")
        ),
    ],
)
def test_a_label_that_cannot_be_is_refused(given: object, column: str | None, allowed: str) -> None:
    with pytest.raises(RowsRefused) as refusal:
        read(CONTRACT.target, [{"id": SECOND, "value": 1}, given])
    [found] = refusal.value.violations
    assert (found.row, found.column, found.allowed) == (1, column, allowed)


@pytest.fixture
def filled(project: Project, database: Database) -> Database:
    """Three predictions of noon."""
    write(project, predicted(3, ids=[FIRST, SECOND, THIRD]))
    return database


@pytest.mark.parametrize("together", [True, False])
def test_a_correction_is_appended_and_a_repetition_is_not(filled: Database, together: bool) -> None:
    labels = [
        Label(FIRST, 850.5, TOLD, "agency"),  # accepted
        Label(FIRST, 850.5, TOLD, "agency"),  # duplicate
        Label(FIRST, 850.5, LATER, "another"),  # duplicate: the same value
        Label(FIRST, 851, TOLD, "agency"),  # conflicting: the label from now on
        Label(FIRST, 850.5, TOLD, "agency"),  # duplicate: sent again, though corrected since
        Label(FIRST, 850.5, LATER, "agency"),  # conflicting: back, on purpose
        Label(SECOND, 900),
        Label("gone", 1),
    ]
    found = Counter[str]()
    for part in [labels] if together else [[label] for label in labels]:
        found.update({name: len(ids) for name, ids in vars(add(filled, part)).items()})
    assert found == {"accepted": 2, "duplicate": 3, "conflicting": 2, "unknown": 1}
    events = rows(filled, "label_events")
    assert [(row["prediction_id"], row["value"]) for row in events] == [
        (FIRST, 850.5), (FIRST, 851), (FIRST, 850.5), (SECOND, 900),
    ]  # fmt: skip
    assert moment(events[0]["observed_at"]) == NOON and events[0]["source"] == "agency"
    assert events[0]["received"] is not None


def test_a_prediction_that_is_not_there_is_unknown(filled: Database) -> None:
    names = [at(NOON, 9), "x", FIRST.upper(), f"{FIRST}'; DROP TABLE labels; --", "患者"]
    labels = read(CONTRACT.target, [{"id": name, "value": 850} for name in names])
    assert add(filled, labels) == Feedback(unknown=names)
    assert rows(filled, "label_events") == []


def test_many_labels_may_come_at_once(project: Project, database: Database) -> None:
    write(project, record := predicted(2))
    labels = [*(Label(f"other {number}", 850) for number in range(9_998)), Label(record.ids[0], 1)]
    assert add(database, labels).accepted == record.ids[:1]
    assert add(database, labels).duplicate == record.ids[:1]
    assert add(database, []) == Feedback()


def test_of_several_processes_that_send_the_same_labels_one_is_accepted(
    project: Project, database: Database
) -> None:
    write(project, record := predicted(300))
    labels = [Label(name, 850) for name in record.ids]
    sent = [partial(add, database, labels[::order]) for order in (1, -1, 1, -1)]
    found = together(*sent)
    assert sorted(name for one in found for name in one.accepted) == record.ids
    assert sum(len(one.duplicate) for one in found) == 900
