"""Labels are judged before they are stored: what cannot be is refused, all of it at once."""

from typing import Any

import pytest

from mlref.core.errors import RowsRefused
from mlref.prediction_log.labels import LONGEST, Label, read
from tests.code.prediction_log.records import NOON, at
from tests.fakes import CONTRACT

FIRST, SECOND = at(NOON, 1), at(NOON, 2)


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ({"id": FIRST, "value": 850}, Label(FIRST, 850.0)),
        ({"id": FIRST, "value": 0, "observed_at": None, "source": None}, Label(FIRST, 0.0)),
        ({"id": FIRST, "value": 1, "observed_at": "2026-11-24T12:00:00Z"}, Label(FIRST, 1, NOON)),
        ({"id": FIRST, "value": 1, "observed_at": "2026-11-24T13:00+01:00"}, Label(FIRST, 1, NOON)),
        ({"id": "患者", "value": 1, "source": "naïve"}, Label("患者", 1, None, "naïve")),
    ],
)
def test_a_label_is_read_from_json(given: dict[str, Any], label: Label) -> None:
    """Id and value are needed, the rest may be known."""
    assert read(CONTRACT.target, [given]) == [label]


WORDS = f"text of 1 to {LONGEST} characters"
ID = f"the id of a prediction: {WORDS}"
RENT = "a number from 0 to 20000 (euro)"
KEYS = "id, value, observed_at, source"
MOMENT = "a date and time with its zone, such as 2026-11-24T12:00:00Z"


@pytest.mark.parametrize(
    ("given", "violation"),
    [
        ("text", (None, "no object", f"an object with the keys {KEYS}")),
        ({"value": 1}, ("id", "no id", ID)),
        ({"id": 7, "value": 1}, ("id", "no id", ID)),
        ({"id": "x" * 201, "value": 1}, ("id", "no id", ID)),
        ({"id": FIRST}, ("value", "a value", RENT)),
        ({"id": FIRST, "value": None}, ("value", "a value", RENT)),
        ({"id": FIRST, "value": True}, ("value", "a value", RENT)),
        ({"id": FIRST, "value": "850"}, ("value", "a value", RENT)),
        ({"id": FIRST, "value": float("nan")}, ("value", "a value", RENT)),
        ({"id": FIRST, "value": float("inf")}, ("value", "a value", RENT)),
        ({"id": FIRST, "value": 10**400}, ("value", "a value", RENT)),
        ({"id": FIRST, "value": -1}, ("value", "a value", RENT)),
        ({"id": FIRST, "value": 1, "valeu": 1}, ("valeu", "an unknown key", KEYS)),
        ({"id": FIRST, "value": 1, "source": 7}, ("source", "no source", WORDS)),
        ({"id": FIRST, "value": 1, "observed_at": "yesterday"}, ("observed_at", "no moment", MOMENT)),
        ({"id": FIRST, "value": 1, "observed_at": "2026-11-24"}, ("observed_at", "no moment", MOMENT)),
        ({"id": FIRST, "value": 1, "observed_at": 1.5}, ("observed_at", "no moment", MOMENT)),
        ({"id": FIRST, "value": 1, "observed_at": "0001-01-01T00:00+14:00"},
         ("observed_at", "no moment", MOMENT)),
    ],
)  # fmt: skip
def test_a_label_that_cannot_be_is_refused(given: object, violation: tuple[Any, ...]) -> None:
    """With its place in the request and what is allowed, without what was sent."""
    with pytest.raises(RowsRefused) as refusal:
        read(CONTRACT.target, [{"id": SECOND, "value": 1}, given])
    [found] = refusal.value.violations
    assert (found.row, found.column, found.got, found.allowed) == (1, *violation)


def test_all_that_is_wrong_is_named_at_once() -> None:
    """In one refusal."""
    with pytest.raises(RowsRefused) as refusal:
        read(CONTRACT.target, [{}, {"id": "", "value": 1}])
    assert [(one.row, one.column) for one in refusal.value.violations] == [
        (0, "id"), (0, "value"), (1, "id"),
    ]  # fmt: skip
