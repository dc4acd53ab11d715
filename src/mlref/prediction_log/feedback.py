"""Feedback: what turned out true, by the id of the prediction; sending it twice changes nothing."""

import datetime
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

import sqlalchemy as sa

from mlref.prediction_log.database import Database
from mlref.prediction_log.labels import Label
from mlref.prediction_log.records import clean
from mlref.prediction_log.schema import LABELS, PREDICTIONS, insertion

AT_ONCE = 500
"""Labels of one transaction."""


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
