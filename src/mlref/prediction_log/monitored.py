"""What the monitor found, kept beside the log: judged windows, alarms, thresholds, its page and metrics.

It is here and not in the monitor, since the service shows it and imports nothing of the monitor.
"""

import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from mlref.core.errors import MlrefError
from mlref.prediction_log.database import Database
from mlref.prediction_log.ids import to_text
from mlref.prediction_log.schema import (
    ALARMS,
    MONITORED,
    PREDICTIONS,
    REFUSALS,
    THRESHOLDS,
    WINDOWS,
)


class Served(NamedTuple):
    """A model that answered or refused rows; ``digest`` is empty where it only refused."""

    digest: str
    version: str
    last: int


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


@dataclass(frozen=True)
class RefusedValues:
    """How many values of a column were rejected for one reason, and when (seconds since 1970)."""

    arrival: int
    at: float
    column: str
    reason: str
    count: int


def served(database: Database) -> list[Served]:
    """List the models in the log, the latest last."""
    columns = PREDICTIONS.c
    answered = (
        sa.select(columns.digest, columns.version, sa.func.max(columns.arrival))
        .where(columns.role == "champion")
        .group_by(columns.digest, columns.version)
        .order_by(sa.func.max(columns.arrival))
    )
    with database.begin(only_read=True) as connection:
        models = [Served(*row) for row in connection.execute(answered)]
        versions = {one.version for one in models}
        refused = connection.scalars(sa.select(REFUSALS.c.version).distinct()).all()
    return [*models, *(Served("", version, 0) for version in refused if version not in versions)]


def refusals(database: Database, version: str, after: int) -> list[RefusedValues]:
    """Read the rejected inputs of a version that arrived after a number, in their order."""
    columns = REFUSALS.c
    wanted = (columns.arrival, columns.at, columns.column, columns.reason, columns.count)
    statement = sa.select(*wanted).where(columns.version == version, columns.arrival > after)
    with database.begin(only_read=True) as connection:
        found = connection.execute(statement.order_by(columns.arrival))
        return [
            RefusedValues(arrival, _seconds(at), column or "", reason, count)
            for arrival, at, column, reason, count in found
        ]


def windows(database: Database, most: int, **wanted: Any) -> list[JudgedWindow]:
    """Read the newest judged windows in the order of their time; ``wanted`` are values of columns."""
    columns = WINDOWS.c
    statement = _where(sa.select(WINDOWS), WINDOWS, wanted)
    newest = statement.order_by(columns.end.desc(), columns.number.desc()).limit(most)
    with database.begin(only_read=True) as connection:
        rows = connection.execute(newest).mappings().all()
    return [_window(row) for row in reversed(rows)]


def latest(database: Database, digest: str, stream: str, size: str) -> JudgedWindow | None:
    """Read the last judged window of a stream, from which the monitor goes on."""
    columns = WINDOWS.c
    same = _where(sa.select(WINDOWS), WINDOWS, {"digest": digest, "stream": stream, "size": size})
    with database.begin(only_read=True) as connection:
        found = connection.execute(same.order_by(columns.number.desc()).limit(1)).mappings()
        row = found.first()
    return _window(row) if row else None


def _window(row: Any) -> JudgedWindow:
    return JudgedWindow(**{**row, **_times(row, "start", "end")})


def alarms(database: Database, **wanted: Any) -> list[Alarm]:
    """Read episodes in the order in which they were opened."""
    with database.begin(only_read=True) as connection:
        return _alarms(connection, wanted)


def _alarms(connection: sa.Connection, wanted: dict[str, Any]) -> list[Alarm]:
    rows = connection.execute(_where(sa.select(ALARMS), ALARMS, wanted).order_by(ALARMS.c.id))
    return [Alarm(**{**row, **_times(row, "opened", "updated")}) for row in rows.mappings()]


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
    with database.begin() as connection:
        if judged:
            same = {name: getattr(judged[0], name) for name in ("digest", "stream", "size")}
            newest = _where(sa.select(sa.func.max(WINDOWS.c.number)), WINDOWS, same)
            if (connection.scalar(newest) or 0) >= judged[0].number:
                raise MlrefError(
                    "Another monitor has judged the same windows meanwhile, and its results are kept."
                    " Run the command again."
                )
            connection.execute(WINDOWS.insert(), [one._asdict() for one in judged])
        changed = follow([one for one in _alarms(connection, {}) if one.state != "closed"])
        new = []
        for alarm in changed:
            row = alarm._asdict()
            number = row.pop("id")
            if number:
                connection.execute(ALARMS.update().where(ALARMS.c.id == number).values(**row))
            else:
                made = connection.execute(ALARMS.insert().values(**row)).inserted_primary_key
                new.append(alarm._replace(id=made[0] if made else 0))
    return new


def acknowledge(database: Database, number: int, because: str) -> Alarm:
    """Stop an alarm from being one, until it has been quiet once.

    Raises
    ------
    MlrefError
        When no alarm of this number is open.
    """
    with database.begin() as connection:
        columns = ALARMS.c
        which = columns.id == number, columns.state == "open"
        change = ALARMS.update().where(*which).values(state="acknowledged", because=because)
        if not connection.execute(change).rowcount:
            known = connection.scalars(sa.select(columns.id).where(columns.state == "open")).all()
            have = ", ".join(map(str, known)) or "none"
            raise MlrefError(f"There is no open alarm {number}; open: {have}.")
        [alarm] = _alarms(connection, {"id": number})
    return alarm


def limits(database: Database, digest: str, settings: str, rows: int) -> dict[str, Any] | None:
    """Read the thresholds of a model for windows of so many rows; None where none are stored."""
    columns, wanted = THRESHOLDS.c, {"digest": digest, "settings": settings, "rows": rows}
    with database.begin(only_read=True) as connection:
        found: dict[str, Any] | None = connection.scalar(
            _where(sa.select(columns.limits), THRESHOLDS, wanted)
        )
    return found


def keep_limits(
    database: Database, digest: str, settings: str, rows: int, limits: dict[str, Any]
) -> None:
    """Store thresholds; those that another monitor has stored first stay."""
    values = {"digest": digest, "settings": settings, "rows": rows}
    with database.begin() as connection:
        if (
            connection.execute(_where(sa.select(THRESHOLDS.c.rows), THRESHOLDS, values)).first()
            is None
        ):
            connection.execute(THRESHOLDS.insert().values(**values, limits=limits))


def show(database: Database, name: str) -> str | None:
    """Read what the monitor left under a name: ``page`` or ``metrics``."""
    with database.begin(only_read=True) as connection:
        return connection.scalar(sa.select(MONITORED.c.content).where(MONITORED.c.name == name))


def leave(database: Database, now: datetime.datetime, **contents: str) -> None:
    """Replace what the service shows."""
    with database.begin() as connection:
        connection.execute(MONITORED.delete().where(MONITORED.c.name.in_(contents)))
        rows = [
            {"name": name, "at": to_text(now), "content": content}
            for name, content in contents.items()
        ]
        connection.execute(MONITORED.insert(), rows)


def _where(statement: Any, table: sa.Table, wanted: dict[str, Any]) -> Any:
    return statement.where(*(table.c[name] == value for name, value in wanted.items()))


def _times(row: Any, *names: str) -> dict[str, str]:
    """Moments as text, which SQLite gives and PostgreSQL does not."""
    return {name: to_text(datetime.datetime.fromisoformat(str(row[name]))) for name in names}


def _seconds(moment: Any) -> float:
    return datetime.datetime.fromisoformat(str(moment)).timestamp()
