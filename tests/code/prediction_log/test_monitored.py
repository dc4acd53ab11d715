"""What the monitor keeps beside the log: windows once, alarms as episodes, thresholds, its page."""

import datetime
from typing import Any

import pytest

from mlref.core.errors import MlrefError
from mlref.core.storage import Project
from mlref.prediction_log import monitored
from mlref.prediction_log.database import Database
from mlref.prediction_log.ground_truth import Label, add
from mlref.prediction_log.ids import to_text
from mlref.prediction_log.monitored import Alarm, JudgedWindow
from mlref.prediction_log.reader import Period, stream_labels
from tests.code.prediction_log.records import (
    HOUR,
    MODEL,
    NOON,
    OTHER,
    at,
    predicted,
    refused,
    write,
)
from tests.fakes import CONTRACT

FOUND: dict[str, Any] = {"findings": [["size", "area", 0.1, 0.5]], "facts": {}, "carried": {}}
WINDOW = JudgedWindow(
    "d1ge57", "3", "inputs", "50", 1, to_text(NOON), to_text(NOON + HOUR), 50, 50, FOUND
)
ALARM = Alarm(
    "d1ge57",
    "3",
    "50",
    "size",
    "area",
    "ticket",
    "open",
    to_text(NOON),
    to_text(NOON),
    1,
    {"rows": 50},
)


def test_windows_and_what_follows_are_kept_together(database: Database) -> None:
    [stored] = monitored.keep(database, [WINDOW], lambda active: [ALARM])
    assert stored == ALARM._replace(id=1)
    assert monitored.windows(database, 9) == [WINDOW]
    second = WINDOW._replace(number=2, end=to_text(NOON + 2 * HOUR), last=100)

    def longer(active: list[Alarm]) -> list[Alarm]:
        """The alarm goes on."""
        assert active == [stored]
        return [active[0]._replace(windows=2)]

    monitored.keep(database, [second], longer)
    assert monitored.alarms(database) == [stored._replace(windows=2)]
    assert monitored.windows(database, 1, by="number", stream="inputs", size="50") == [second]
    assert monitored.windows(database, 1, stream="truth") == []


def test_a_window_is_kept_once_and_what_follows_is_undone(database: Database) -> None:
    monitored.keep(database, [WINDOW], lambda active: [])
    with pytest.raises(MlrefError, match="Another monitor"):
        monitored.keep(database, [WINDOW._replace(rows=7)], lambda active: [ALARM])
    assert monitored.windows(database, 9) == [WINDOW] and monitored.alarms(database) == []


def test_an_alarm_is_acknowledged_once(database: Database) -> None:
    monitored.keep(database, [], lambda active: [ALARM])
    assert monitored.acknowledge(database, 1, "known").state == "acknowledged"
    for number in (1, 2):
        with pytest.raises(MlrefError, match=f"no open alarm {number}; open: none"):
            monitored.acknowledge(database, number, "again")
    assert [one.because for one in monitored.alarms(database, state="acknowledged")] == ["known"]


def test_thresholds_are_those_of_a_model_its_settings_and_a_size(database: Database) -> None:
    same = {"digest": "d", "settings": "ours", "rows": 50}
    for _ in range(2):  # two monitors may simulate them at once
        monitored.keep_limits(database, **same, limits={"size": {"area": 0.5}})
    assert monitored.limits(database, **same) == {"size": {"area": 0.5}}
    assert monitored.limits(database, **same | {"rows": 200}) is None


def test_what_is_left_for_the_service_is_replaced(database: Database) -> None:
    assert monitored.show(database, "page") is None
    for text in ("one", "two"):
        monitored.leave(database, NOON, page=text, metrics="{}")
    assert monitored.show(database, "page") == "two"


def test_models_are_listed_by_what_they_answered_or_refused(
    project: Project, database: Database
) -> None:
    write(project, predicted(2), predicted(model=OTHER), predicted(model=OTHER, role="shadow"))
    write(
        project,
        refused("area", "area")._replace(model=MODEL._replace(version="9")),
        refused("area"),
    )
    assert monitored.served(database) == [("d1ge57", "3", 2), ("07he2", "4", 3), ("", "9", 0)]
    [first, second] = [*monitored.refusals(database, "9", 0), *monitored.refusals(database, "3", 0)]
    assert (first.column, first.count, second.count) == ("area", 2, 1)
    assert abs(first.at - datetime.datetime.now(datetime.UTC).timestamp()) < 600
    assert monitored.refusals(database, "9", first.arrival) == []


def test_labels_are_read_in_their_own_order_and_corrections_once(
    project: Project, database: Database
) -> None:
    names = [at(NOON + hours * HOUR) for hours in range(3)]
    write(project, record := predicted(3, ids=names), record._replace(role="shadow"))
    for name, value in ((names[2], 1.0), (names[0], 2.0), (names[2], 3.0)):
        add(database, [Label(name, value, to_text(NOON), "clinic")])
    [found] = stream_labels(database, CONTRACT, digest="d1ge57")
    assert (found.chunk.ids, found.label.tolist()) == ((names[0], names[2]), [2, 3])
    assert found.chunk.value.tolist() == [100, 102] and found.sources == ("clinic", "clinic")
    assert found.observed.tolist() == [NOON.timestamp()] * 2 and (found.received > 1.7e9).all()
    [later] = stream_labels(database, CONTRACT, after=int(found.chunk.arrivals[0]))
    assert later.label.tolist() == [3]
    assert [*stream_labels(database, CONTRACT, digest="other")] == []
    [early] = stream_labels(database, CONTRACT, period=Period(NOON, NOON + HOUR))
    assert early.label.tolist() == [2]
