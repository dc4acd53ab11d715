"""The page loads nothing, says what to do first, and shows quiet and alarm."""

import datetime
import re
from collections.abc import Callable

import pytest

from mlref.core.storage import Project
from mlref.monitoring import report
from mlref.prediction_log import monitored
from mlref.prediction_log.monitored import Alarm, JudgedWindow
from tests.code.monitoring.conftest import Said, Service

Monitor = Callable[..., Said]
NOW = datetime.datetime(2026, 11, 30, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("scenario", "says"),
    [("none", "✔ No alarm is open."), ("unit", "▲ "), (None, "Nothing to judge yet.")],
)
def test_the_page_says_first_what_is_to_be_done(
    scenario: str | None, says: str, service: Service, monitor: Monitor, project: Project
) -> None:
    if scenario:
        service.simulate(scenario, rows=150)
    monitor()
    page = project.monitoring.read_text()
    assert says in page
    assert not re.search(r"<script|<link|<img|\bsrc=|\bhref=|url\(|style=", page)
    assert (page.count("<figure") >= 8) == bool(scenario)
    assert ('class="alarm"' in page) == (scenario == "unit")
    if scenario == "unit":
        assert "mlref alarms acknowledge" in page and "docs/runbooks/" in page


def test_names_of_the_contract_are_escaped() -> None:
    evidence = {
        "value": 2.0, "threshold": 1.0, "rows": 50, "cause": "<b>x</b>", "runbook": "r",
    }  # fmt: skip
    alarm = Alarm("d", "3", "50", "size", "<i>", "ticket", "open", "", "", 1, evidence, id=1)
    page = report.page([], [alarm], None, ["<note>"], NOW)
    assert "<b>x" not in page and "<i>" not in page and "<note>" not in page


def test_metrics_are_those_of_the_newest_windows(service: Service, monitor: Monitor) -> None:
    service.simulate("unit", rows=150)
    monitor()
    windows = monitored.windows(service.log.database, 9)
    alarms = monitored.alarms(service.log.database, state="open")
    found = report.metrics(windows, alarms, NOW)
    assert found["alarms"] == {"page": 0, "ticket": len(alarms)} and alarms
    assert found["drift"]["area"] > 1 > found["drift"]["rooms"]
    assert found["coverage"] == 1.0 and found["lag"] < 60
    *_, newest = (one for one in windows if one.stream == "truth")
    assert found["loss"] == newest.found["facts"]["loss"][1]
    assert found["labelled"] == datetime.datetime.fromisoformat(newest.end).timestamp()
    nothing = report.metrics([], [], NOW)
    assert nothing["run"] == NOW.timestamp() and nothing["alarms"] == {"page": 0, "ticket": 0}
    assert all(nothing[key] is None for key in ("loss", "expected", "coverage", "lag", "labelled"))


def test_a_picture_of_equal_or_missing_values_has_a_height() -> None:
    drawn = report.picture("Empty", [], "", ["size"])
    assert (drawn["points"], drawn["low"], drawn["high"]) == ([], 0.0, 1.0)
    windows = [
        JudgedWindow(digest, "1", "inputs", "50", 1, "", "", 50, 0, {"findings": found})
        for digest, found in zip("aab", ([], [["size", "", 5.0, 4.0]], [["size", "", 5.0, 5.0]]))
    ]
    drawn = report.picture("Bare", windows, "", ["size"])
    assert (drawn["alarms"], drawn["versions"]) == ([False, True, False], [2])
    assert (drawn["low"], drawn["high"]) == (4.0, 5.0)
    flat = report.picture("Flat", windows, "", ["size"], points=[(None, 5.0, None, None)] * 3)
    assert (flat["low"], flat["high"]) == (4.5, 5.5)
