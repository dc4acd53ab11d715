"""Ground truth: the true outcomes of predictions, validated, then appended as events."""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from mlref.core.contract import Column
from mlref.core.errors import RowsRefused, Violation
from mlref.core.rows import validate
from mlref.prediction_log.ids import to_text

if TYPE_CHECKING:
    from mlref.prediction_log.database import Database

LONGEST = 200
"""Characters of an id or a source."""


class Label(NamedTuple):
    """The true outcome of one prediction.

    Parameters
    ----------
    id : str
        Of the prediction, as it was answered.
    value : float
        In the unit of the target.
    observed_at : str, optional
        When it was measured: ISO 8601 in UTC.
    source : str, optional
        Who says so.
    """

    id: str
    value: float
    observed_at: str | None = None
    source: str | None = None


@dataclass
class Feedback:
    """The ids of labels by what became of them, in the order in which they came.

    Parameters
    ----------
    accepted : list of str
        The first label of its prediction, stored.
    duplicate : list of str
        Nothing new, and not stored: the value is the prediction's label already, or the same value,
        time and source came before.
    conflicting : list of str
        Another value than the prediction's label: stored as a correction, and the label from now on.
    unknown : list of str
        There is no such prediction: not yet, no longer or never. Labels of the last second's
        predictions may be sent again.
    """

    accepted: list[str] = field(default_factory=list)
    duplicate: list[str] = field(default_factory=list)
    conflicting: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def read(target: Column, records: Sequence[object]) -> list[Label]:
    """Validate labels that come as decoded JSON.

    Parameters
    ----------
    target : Column
        The contract's; it says which values are possible.
    records : sequence of object
        Mappings with ``id``, ``value`` and where known ``observed_at`` (text, ISO 8601) and ``source``.

    Raises
    ------
    RowsRefused
        With every violation; nothing of the request is then stored.

    Examples
    --------
    >>> rent = Column(name="rent", title="Rent", meaning="Rent.", type="number", valid=(0, 20000),
    ...               example=900)
    >>> read(rent, [{"id": "01a20d6d-5a00-7000-8000-000000000000", "value": 850}])[0].value
    850.0
    """
    words = f"printable text of 1 to {LONGEST} characters"
    keys: dict[str, tuple[Callable[[Any], Any], str]] = {
        "id": (_words, f"the id of a prediction: {words}"),
        "value": (partial(_number, target), target.accepts),
        "observed_at": (_moment, "a date and time with its zone, such as 2026-11-24T12:00:00Z"),
        "source": (_words, words),
    }
    violations: list[Violation] = []
    labels: list[Label] = []
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            form = f"an object with the keys {', '.join(keys)}"
            violations.append(Violation(row, None, "something else", form))
            continue
        given: dict[str, Any] = {}
        for key, value in ({"id": None, "value": None} | record).items():
            if value is None and key in Label._field_defaults:
                continue
            parse, allowed = keys.get(key, (_unknown, ", ".join(keys)))
            try:
                given[key] = parse(value)
            except (TypeError, ValueError, OverflowError):
                violations.append(Violation(row, key[:64], "something else", allowed))
        if not violations:
            labels.append(Label(**given))
    if violations:
        raise RowsRefused("The request", violations)
    return labels


def _unknown(value: object) -> None:
    raise ValueError(value)


def _words(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST or not value.isprintable():
        raise ValueError(value)
    return value


def _number(target: Column, value: object) -> float:
    result = validate([target], {target.name: [value]})
    if result.refused:
        raise ValueError(value)
    return float(result.array[0, 0])


def _moment(value: Any) -> str:
    moment = datetime.datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(value)
    return to_text(moment)


def add(database: "Database", labels: Sequence[Label]) -> Feedback:
    """Append labels to the ground truth, one by one in their order.

    Parameters
    ----------
    database : Database
        The log's.
    labels : sequence of Label
        In the order in which they count; at most some 30,000.

    Returns
    -------
    Feedback
        What became of each.

    Raises
    ------
    EnvironmentFault
        When the database cannot be reached; all may be sent again.
    """
    import sqlalchemy as sa  # a service without a log can spare it

    from mlref.prediction_log.schema import LABEL_EVENTS, PREDICTIONS

    feedback, new = Feedback(), list[dict[str, Any]]()
    received = to_text(datetime.datetime.now(datetime.UTC))
    event, ids = LABEL_EVENTS.c, PREDICTIONS.c.id
    with database.begin() as connection:
        found = sa.select(ids).where(ids.in_({label.id for label in labels}))
        known = {name: list[Label]() for name in connection.scalars(found)}
        earlier = sa.select(event.prediction_id, event.value, event.observed_at, event.source)
        earlier = earlier.where(event.prediction_id.in_(known)).order_by(event.seq)
        for row in connection.execute(earlier):
            known[row.prediction_id].append(Label(*row))
        for label in labels:
            before = known.get(label.id)
            if before is None:
                feedback.unknown.append(label.id)
            elif before and (label in before or label.value == before[-1].value):
                feedback.duplicate.append(label.id)
            else:
                (feedback.conflicting if before else feedback.accepted).append(label.id)
                before.append(label)
                new.append(dict(zip(event.keys()[1:], (*label, received), strict=True)))
        if new:
            connection.execute(LABEL_EVENTS.insert(), new)
    return feedback
