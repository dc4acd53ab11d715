"""What the monitor found, kept beside the log: judged windows, alarms, thresholds, its page and metrics.

It is here and not in the monitor, since the service shows it and imports nothing of the monitor.
"""

import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from mlref.core.errors import MlrefError
from mlref.prediction_log import schema
from mlref.prediction_log.database import Database
from mlref.prediction_log.ids import seconds, to_text
from mlref.prediction_log.schema import ALARMS, WINDOWS


class Served(NamedTuple):
    """A model that answered or refused rows; ``digest`` is empty where it only refused."""

    digest: str
    version: str
    last: int


@dataclass(frozen=True)
class RefusedValues:
    """How many values of a column were rejected for one reason, and when (seconds since 1970)."""

    arrival: int
    at: float
    column: str
    reason: str
    count: int


class JudgedWindow(NamedTuple):
    """A window as it was judged, once.

    Parameters
    ----------
    digest, version : str
        Of the model that served.
    stream : str
        ``inputs`` or ``truth``.
    size : str
        As asked for, such as ``1d`` or ``200``.
    number : int
        From 1, by digest, stream and size.
    start, end : str
        Of its rows, ISO 8601 in UTC.
    rows : int
        How many were judged.
    last : int
        Number of arrival of the last row.
    found : dict
        Findings, facts, and what the next window carries on.
    """

    digest: str
    version: str
    stream: str
    size: str
    number: int
    start: str
    end: str
    rows: int
    last: int
    found: dict[str, Any]


class Alarm(NamedTuple):
    """An episode: a monitor of one column above its threshold, in one window or in several.

    Parameters
    ----------
    monitor, column : str
        What was above its threshold, and where; an empty column is the whole row.
    severity : str
        ``page`` or ``ticket``.
    state : str
        ``open``, ``acknowledged`` or ``closed``.
    opened, updated : str
        End of its first and of its latest window.
    windows : int
        How many windows were above the threshold.
    evidence : dict
        Of the latest window: value, threshold, rows, likely cause, runbook.
    because : str
        Why it is not open any more.
    id : int
        0 until it is stored.
    """

    digest: str
    version: str
    size: str
    monitor: str
    column: str
    severity: str
    state: str
    opened: str
    updated: str
    windows: int
    evidence: dict[str, Any]
    because: str = ""
    id: int = 0


def served(database: Database) -> list[Served]:
    """List the models in the log, the latest last."""
    columns = schema.PREDICTIONS.c
    last = sa.func.max(columns.arrival)
    answered = sa.select(columns.digest, columns.version, last).where(columns.role == "champion")
    answered = answered.group_by(columns.digest, columns.version).order_by(last)
    with database.begin(only_read=True) as connection:
        models = [Served(*row) for row in connection.execute(answered)]
        refused = connection.scalars(sa.select(schema.REFUSALS.c.version).distinct()).all()
    versions = {one.version for one in models}
    return [*models, *(Served("", version, 0) for version in refused if version not in versions)]


def refusals(database: Database, version: str, after: int) -> list[RefusedValues]:
    """Read the rejected inputs of a version that arrived after a number, in their order."""
    columns = schema.REFUSALS.c
    wanted = columns.arrival, columns.id, columns.column, columns.reason, columns.count
    statement = sa.select(*wanted).where(columns.version == version, columns.arrival > after)
    with database.begin(only_read=True) as connection:
        found = connection.execute(statement.order_by(columns.arrival)).all()
    times = seconds([row.id for row in found]).tolist()
    return [
        RefusedValues(arrival, at, column or "", reason, count)
        for at, (arrival, _, column, reason, count) in zip(times, found, strict=True)
    ]


def windows(database: Database, most: int, by: str = "end", **wanted: Any) -> list[JudgedWindow]:
    """Read judged windows, the newest by a column last; ``wanted`` are values of columns."""
    newest = WINDOWS.c[by].desc(), WINDOWS.c.number.desc()
    statement = _where(sa.select(WINDOWS), WINDOWS, wanted).order_by(*newest).limit(most)
    with database.begin(only_read=True) as connection:
        rows = connection.execute(statement).mappings().all()
    return [JudgedWindow(**row) for row in reversed(rows)]


def alarms(database: Database, **wanted: Any) -> list[Alarm]:
    """Read episodes in the order in which they were opened."""
    with database.begin(only_read=True) as connection:
        return _alarms(connection, **wanted)


def _alarms(connection: sa.Connection, **wanted: Any) -> list[Alarm]:
    rows = connection.execute(_where(sa.select(ALARMS), ALARMS, wanted).order_by(ALARMS.c.id))
    return [Alarm(**row) for row in rows.mappings()]


def keep(
    database: Database,
    judged: Sequence[JudgedWindow],
    follow: Callable[[list[Alarm]], Iterable[Alarm]],
) -> list[Alarm]:
    """Store new windows and what follows for the alarms, all of it or nothing.

    Parameters
    ----------
    judged : sequence of JudgedWindow
        Of one stream and size, later than those that are stored.
    follow : callable
        Gives the alarms that are new or changed, from those that are not closed.

    Returns
    -------
    list of Alarm
        The new ones, with their numbers.

    Raises
    ------
    MlrefError
        When another monitor has stored one of these windows meanwhile.
    EnvironmentFault
        When the database cannot be reached; nothing is stored.
    """
    new = []
    with database.begin() as connection:
        for window in judged[:1]:
            same = {name: getattr(window, name) for name in ("digest", "stream", "size")}
            newest = _where(sa.select(sa.func.max(WINDOWS.c.number)), WINDOWS, same)
            if (connection.scalar(newest) or 0) >= window.number:
                raise MlrefError(
                    "Another monitor has judged the same windows meanwhile, and its results are kept."
                    " Run the command again."
                )
            connection.execute(WINDOWS.insert(), [one._asdict() for one in judged])
        for alarm in follow([one for one in _alarms(connection) if one.state != "closed"]):
            row = alarm._asdict()
            number = row.pop("id")
            if number:
                connection.execute(ALARMS.update().where(ALARMS.c.id == number).values(**row))
            else:
                made = connection.execute(ALARMS.insert().returning(ALARMS.c.id), row).scalar_one()
                new.append(alarm._replace(id=made))
    return new


def acknowledge(database: Database, number: int, because: str) -> Alarm:
    """Stop an alarm from being one, until it has been quiet once.

    Raises
    ------
    MlrefError
        When no alarm of this number is open.
    """
    with database.begin() as connection:
        known = {alarm.id: alarm for alarm in _alarms(connection, state="open")}
        if number not in known:
            have = ", ".join(map(str, known)) or "none"
            raise MlrefError(f"There is no open alarm {number}; open: {have}.")
        silent = known[number]._replace(state="acknowledged", because=because)
        change = {"state": silent.state, "because": because}
        connection.execute(ALARMS.update().where(ALARMS.c.id == number).values(**change))
    return silent


def limits(database: Database, **same: Any) -> dict[str, Any] | None:
    """Read the thresholds of a ``digest`` under ``settings`` for windows of so many ``rows``, or None."""
    found: dict[str, Any] | None = _content(database, schema.THRESHOLDS.c.limits, same)
    return found


def keep_limits(database: Database, **row: Any) -> None:
    """Store thresholds; another monitor that simulated them meanwhile has found the same."""
    _put(database, schema.THRESHOLDS, row)


def show(database: Database, name: str) -> str | None:
    """Read what the monitor left under a name: ``page``, ``metrics``, or ``acts``, its retrainings."""
    found: str | None = _content(database, schema.MONITORED.c.content, {"name": name})
    return found


def leave(database: Database, now: datetime.datetime, **contents: str) -> None:
    """Replace what is read by these names."""
    rows = [{"name": name, "at": to_text(now), "content": contents[name]} for name in contents]
    _put(database, schema.MONITORED, *rows)


def _content(database: Database, column: sa.Column[Any], wanted: dict[str, Any]) -> Any:
    with database.begin(only_read=True) as connection:
        return connection.scalar(_where(sa.select(column), column.table, wanted))


def _put(database: Database, table: sa.Table, *rows: dict[str, Any]) -> None:
    """Store rows in place of those with the same primary key."""
    with database.begin() as connection:
        for row in rows:
            same = {name: row[name] for name in table.primary_key.columns.keys()}
            connection.execute(_where(table.delete(), table, same))
            connection.execute(table.insert(), row)


def _where(statement: Any, table: Any, wanted: dict[str, Any]) -> Any:
    return statement.where(*(table.c[name] == value for name, value in wanted.items()))
