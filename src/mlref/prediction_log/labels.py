"""Labels as they are sent: the true outcome of a prediction, judged before it is stored."""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from mlref.core.contract import Column
from mlref.core.errors import RowsRefused, Violation
from mlref.core.rows import validate
from mlref.prediction_log.records import clean

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
        With every violation; nothing of the request is then stored.

    Examples
    --------
    >>> rent = Column(name="rent", title="Rent", meaning="Rent.", type="number", valid=(0, 20000),
    ...               example=900)
    >>> read(rent, [{"id": "01a20d6d-5a00-7000-8000-000000000000", "value": 850}])[0].value
    850.0
    """
    violations: list[Violation] = []
    labels: list[Label] = []
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            allowed = f"an object with the keys {', '.join(_KEYS)}"
            violations.append(Violation(row, None, "no object", allowed))
            continue
        wrong = [*_wrong(row, record)]
        verdict = validate([target], {target.name: [record.get("value")]})
        wrong += [Violation(row, "value", "a value", one.allowed) for one in verdict.refused]
        violations += wrong
        if not wrong:
            observed = _moment(record.get("observed_at"))
            value = float(verdict.array[0, 0])
            labels.append(Label(record["id"], value, observed, clean(record.get("source"))))
    if violations:
        raise RowsRefused("The request", violations)
    return labels


def _wrong(row: int, record: dict[Any, Any]) -> Iterable[Violation]:
    for key in record.keys() - {*_KEYS}:
        yield Violation(row, str(key)[:64], "an unknown key", ", ".join(_KEYS))
    if not _is_words(record.get("id")):
        yield Violation(row, "id", "no id", f"the id of a prediction: {_WORDS}")
    if record.get("source") is not None and not _is_words(record["source"]):
        yield Violation(row, "source", "no source", _WORDS)
    try:
        _moment(record.get("observed_at"))
    except (ValueError, OverflowError):
        yield Violation(row, "observed_at", "no moment", _MOMENT)


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
