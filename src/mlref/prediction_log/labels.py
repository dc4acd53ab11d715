"""Feedback: what turned out true, by the id of the prediction; sending it twice changes nothing."""

import datetime
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from mlref.contract import Column
from mlref.errors import Finding, RowsRefused
from mlref.prediction_log.database import Database
from mlref.prediction_log.encode import clean
from mlref.prediction_log.schema import LABELS, PREDICTIONS, insertion
from mlref.rows import judge

AT_ONCE = 500
"""Labels of one transaction."""
LONGEST = 200
"""Characters of an id or a source."""

_KEYS = ("id", "value", "observed_at", "source")
_MOMENT = "a date and time with its zone, such as 2026-11-24T12:00:00Z"
_WORDS = f"text of 1 to {LONGEST} characters"


class Label(NamedTuple):
    """The true outcome of one prediction.

    Parameters
    ----------
    id : str
        Of the prediction, as it was answered.
    value : float
        In the unit of the target.
    observed_at : datetime, optional
        When it was measured.
    source : str, optional
        Who says so.
    """

    id: str
    value: float
    observed_at: datetime.datetime | None = None
    source: str | None = None


@dataclass
class Feedback:
    """What became of labels: their ids, in the order in which they came.

    Parameters
    ----------
    accepted : list of str
        Stored now, however late they are.
    duplicate : list of str
        Stored before with the same value; when and by whom it was observed stays as it was.
    conflicting : list of str
        Stored before with another value, which stays.
    unknown : list of str
        There is no such prediction: not yet, no longer or never. Those of the last second may be
        sent again.
    """

    accepted: list[str] = field(default_factory=list)
    duplicate: list[str] = field(default_factory=list)
    conflicting: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def read(target: Column, records: Sequence[object]) -> list[Label]:
    """Judge labels that come as decoded JSON.

    Parameters
    ----------
    target : Column
        The contract's; it says which values are possible.
    records : sequence of object
        Mappings with ``id``, ``value`` and where known ``observed_at`` (text, ISO 8601) and ``source``.

    Raises
    ------
    RowsRefused
        With every finding; nothing of the request is then stored.

    Examples
    --------
    >>> rent = Column(name="rent", title="Rent", meaning="Rent.", type="number", valid=(0, 20000),
    ...               example=900)
    >>> read(rent, [{"id": "01a20d6d-5a00-7000-8000-000000000000", "value": 850}])[0].value
    850.0
    """
    findings: list[Finding] = []
    labels: list[Label] = []
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            allowed = f"an object with the keys {', '.join(_KEYS)}"
            findings.append(Finding(row, None, "no object", allowed))
            continue
        wrong = [*_wrong(row, record)]
        verdict = judge([target], {target.name: [record.get("value")]})
        wrong += [Finding(row, "value", "a value", one.allowed) for one in verdict.refused]
        findings += wrong
        if not wrong:
            observed = _moment(record.get("observed_at"))
            value = float(verdict.array[0, 0])
            labels.append(Label(record["id"], value, observed, clean(record.get("source"))))
    if findings:
        raise RowsRefused("The request", findings)
    return labels


def _wrong(row: int, record: dict[Any, Any]) -> Iterable[Finding]:
    for key in record.keys() - {*_KEYS}:
        yield Finding(row, str(key)[:64], "an unknown key", ", ".join(_KEYS))
    if not _is_words(record.get("id")):
        yield Finding(row, "id", "no id", f"the id of a prediction: {_WORDS}")
    if record.get("source") is not None and not _is_words(record["source"]):
        yield Finding(row, "source", "no source", _WORDS)
    try:
        _moment(record.get("observed_at"))
    except (ValueError, OverflowError):
        yield Finding(row, "observed_at", "no moment", _MOMENT)


def _is_words(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST


def _moment(value: object) -> datetime.datetime | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(value)
    moment = datetime.datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(value)
    return moment.astimezone(datetime.UTC)


def add(database: Database, labels: Iterable[Label]) -> Feedback:
    """Store labels.

    Of two labels of one prediction the first is taken, whether they come together or one by one.

    Parameters
    ----------
    database : Database
        The log's.
    labels : iterable of Label
        In the order in which they count.

    Returns
    -------
    Feedback
        What became of each.

    Raises
    ------
    EnvironmentFault
        When the database cannot be reached; all may be sent again.
    """
    feedback = Feedback()
    received = datetime.datetime.now(datetime.UTC)
    remaining = iter(labels)
    while part := list(itertools.islice(remaining, AT_ONCE)):
        with database.begin() as connection:
            _add(connection, part, received, feedback)
    return feedback


def _add(
    connection: sa.Connection, labels: list[Label], received: datetime.datetime, feedback: Feedback
) -> None:
    firsts: dict[str, Label] = {}
    for label in labels:
        firsts.setdefault(clean(label.id) or "", label)
    predicted = sa.select(PREDICTIONS.c.id).where(PREDICTIONS.c.id.in_(firsts))
    known = {*connection.scalars(predicted)}
    new = [
        {"prediction_id": name, "value": label.value, "observed_at": label.observed_at,
         "source": label.source, "received": received}
        for name, label in sorted(firsts.items())  # in one order, or two processes wait for each other
        if name in known
    ]  # fmt: skip
    stored: dict[str, float] = {}
    inserted: set[str] = set()
    if new:
        statement = insertion(LABELS, connection.dialect).returning(LABELS.c.prediction_id)
        inserted = {*connection.scalars(statement, new)}
        present = sa.select(LABELS.c.prediction_id, LABELS.c.value)
        found = connection.execute(present.where(LABELS.c.prediction_id.in_(known)))
        stored = {name: value for name, value in found}
    for label in labels:
        name = clean(label.id) or ""
        if name not in known:
            feedback.unknown.append(label.id)
        elif name in inserted and firsts[name] is label:
            feedback.accepted.append(label.id)
        elif stored[name] == label.value:
            feedback.duplicate.append(label.id)
        else:
            feedback.conflicting.append(label.id)
