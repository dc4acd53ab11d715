"""Episodes: what opens, extends, closes and silences them, and who is told."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlref.core.errors import EnvironmentFault
from mlref.core.settings import Monitor
from mlref.monitoring import drift
from mlref.monitoring.alarms import evidence, follow, notify, sentence, superseded
from mlref.monitoring.drift import Finding
from mlref.monitoring.reference import Reference
from mlref.monitoring.thresholds import Thresholds
from mlref.monitoring.watched import watched
from mlref.monitoring.windows import table
from mlref.prediction_log.monitored import Alarm, JudgedWindow
from tests.projects import PARAMS

Story = list[tuple[str, float]]


def told(*windows: Story) -> list[JudgedWindow]:
    """Windows in which monitors of `area` have these values; 1 is the threshold."""
    return [
        JudgedWindow("d", "3", "inputs", "50", number, "", f"end {number}", 50, 0, {
            "findings": [[monitor, "area", value, 1.0] for monitor, value in story], "facts": {},
        })
        for number, story in enumerate(windows, 1)
    ]  # fmt: skip


def changed(active: list[Alarm], *windows: Story) -> list[Alarm]:
    """What follows for the alarms."""
    return follow(active, told(*windows), training_rows=400)


QUIET: Story = [("size", 0.9), ("spread", 0.2)]
LOUD: Story = [("size", 1.5), ("spread", 1.2)]
RARE: Story = [("unusual", 1.5)]


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([QUIET, QUIET], []),
        ([LOUD], [("size", "open", 1)]),
        ([LOUD, LOUD, LOUD], [("size", "open", 3)]),
        ([LOUD, LOUD, QUIET], [("size", "closed", 2)]),
        ([LOUD, QUIET, LOUD], [("size", "closed", 1), ("size", "open", 1)]),
        ([LOUD, [("spread", 1.1), ("size", 0.5)]], [("spread", "open", 2)]),
        ([LOUD + RARE], [("size", "open", 1), ("unusual", "open", 1)]),
        ([LOUD, []], [("size", "open", 1)]),  # too few rows to say
    ],
)
def test_an_episode_opens_goes_on_and_closes(windows: list[Story], expected: Any) -> None:
    found = changed([], *windows)
    assert [(one.monitor, one.state, one.windows) for one in found] == expected


def test_an_acknowledged_alarm_is_silent_until_it_was_quiet() -> None:
    [opened] = changed([], LOUD)
    known = opened._replace(state="acknowledged", because="known", id=5)
    [longer] = changed([known], LOUD)
    assert (longer.state, longer.windows, longer.id) == ("acknowledged", 2, 5)
    closed, again = changed([known], QUIET, LOUD)
    assert (closed.state, closed.because, closed.id) == ("closed", "known; quiet", 5)
    assert (again.state, again.id, again.evidence["also"]) == ("open", 0, ["spread"])


def test_alarms_of_another_model_end_with_it() -> None:
    [opened] = changed([], LOUD)
    [closed] = superseded([opened], "other", "4")
    assert (closed.state, closed.because) == ("closed", "version 4 serves now")
    assert superseded([opened], "d", "3") == []


@pytest.mark.parametrize("monitor", watched())
def test_every_monitor_has_a_cause_and_a_runbook_that_is_there(monitor: str) -> None:
    column = "" if monitor in ("bias", "loss", "misses", "dates") else "area"
    [window] = told([])
    window.found["facts"]["bias"] = -3.0
    found = evidence(window, [Finding(monitor, column, 2.0, 1.0)], 400)
    assert found["cause"].endswith(".") and "{" not in found["cause"]
    assert (Path(__file__).parents[3] / found["runbook"]).is_file()


@pytest.mark.parametrize(
    ("share", "factor", "expected"),
    [(0.3, 3.28, "3.0"), (0.3, 1.0, ""), (0.01, 3.28, ""), (0.3, 0.02, "")],
)
def test_a_factor_between_units_is_named(
    share: float, factor: float, expected: str, known: Reference
) -> None:
    cells = np.tile([150.0, 3, 1, 4], (100, 1))
    cells[: int(100 * share), 0] *= factor
    rows = table(cells, value=900.0, lower=800.0, upper=1000.0)
    thresholds = Thresholds(None, "", known, Monitor(**PARAMS["monitor"]))
    said = drift.judge(thresholds, rows, {}, smallest=101).facts["units"].get("area", "")
    assert (f"about {expected}" in said and "look for a unit" in said) == bool(expected)


class Hook(http.server.BaseHTTPRequestHandler):
    """Refuses as often as it is told to."""

    refuse, bodies = 0, list[Any]()

    def do_POST(self) -> None:
        """Take an alarm."""
        body = self.rfile.read(int(self.headers["content-length"]))
        Hook.bodies.append(json.loads(body))
        self.send_response(503 if len(Hook.bodies) <= Hook.refuse else 204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def webhook() -> Iterator[str]:
    """The address of a webhook."""
    Hook.bodies = []
    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()
        thread.join()


def one() -> Alarm:
    """An alarm."""
    [opened] = changed([], LOUD)
    return opened._replace(id=7)


@pytest.mark.parametrize(("refuse", "calls"), [(0, 1), (2, 3), (99, 3)])
def test_a_webhook_is_called_until_it_answers(webhook: str, refuse: int, calls: int) -> None:
    Hook.refuse = refuse
    silent = pytest.raises(EnvironmentFault, match="alarms are stored")
    with silent if refuse == 99 else contextlib.nullcontext():
        notify(webhook, [one()], pause=0)
    assert len(Hook.bodies) == calls
    assert Hook.bodies[-1]["text"] == sentence(one())
    assert Hook.bodies[-1]["alarms"][0]["monitor"] == "size"


def test_a_file_is_written_for_an_issue(tmp_path: Path) -> None:
    notify(str(tmp_path / "alarms.md"), [one(), one()])
    lines = (tmp_path / "alarms.md").read_text().splitlines()
    assert lines[0].startswith("# ") and lines[2:] == [f"- {sentence(one())}"] * 2
