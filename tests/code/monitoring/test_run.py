"""`mlref monitor` over a log: quiet, in alarm, and over everything that a log may hold."""

import contextlib
import datetime
import sqlite3
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from mlref.bundle.store import Store
from mlref.cli import main
from mlref.core.errors import MlrefError
from mlref.core.storage import Project, read_json, write_json
from mlref.monitoring import run as monitoring
from mlref.monitoring.run import Asked
from mlref.monitoring.windows import Size
from mlref.prediction_log import monitored
from mlref.prediction_log.database import Database
from mlref.prediction_log.ground_truth import Label
from mlref.prediction_log.ids import lowest, to_text
from tests.code.monitoring.conftest import Said, Service, quiet_rows, write_model
from tests.fakes import linear

Monitor = Callable[..., Said]
DAY = datetime.timedelta(days=1)
START = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


def ids(moment: datetime.datetime, count: int, first: int = 0) -> list[str]:
    """Ids of predictions that were made at one moment."""
    return [f"{lowest(moment)[:-6]}{number:06x}" for number in range(first, first + count)]


def label(service: Service, names: list[str], rows: Any, off: float = 0.0, **fields: Any) -> Any:
    """Ground truth of rows: what the model predicts, with errors, and so much more."""
    errors = np.random.default_rng(5).normal(off, 200, len(rows))
    values = np.clip(linear(rows) + errors, 0, 20_000)
    return service.add([Label(n, float(v), **fields) for n, v in zip(names, values, strict=True)])


def alarming(found: dict[str, Any]) -> set[tuple[str, str]]:
    """Monitor and column of each alarm."""
    return {(one["monitor"], one["column"]) for one in found["alarms"]}


@pytest.mark.parametrize("scenario", ["none", "burst", "late-labels"])
def test_nothing_happened_and_nothing_is_said(
    scenario: str, service: Service, monitor: Monitor
) -> None:
    service.simulate(scenario)
    code, said, found = monitor()
    assert (code, found["alarms"]) == (0, [])
    assert "No alarm." in said and len(found["windows"]) >= 7


@pytest.mark.parametrize(
    ("scenario", "monitors", "column"),
    [
        ("shift", {"slow", "size"}, "area"),
        ("unit", {"size", "spread", "slow"}, "area"),
        ("gradual", {"size", "slow"}, "area"),
        ("level", {"bias", "loss"}, ""),
        ("noise", {"loss", "misses"}, ""),
        ("schema", {"rejected"}, "area"),
    ],
)
def test_a_planted_fault_is_found_and_named(
    scenario: str, monitors: set[str], column: str, service: Service, monitor: Monitor
) -> None:
    service.simulate(scenario, rows=800, seed=2)
    code, said, found = monitor()
    assert code == 3 and "ALARM" in said
    named = {one["monitor"] for one in found["alarms"] if one["column"] == column}
    assert named & monitors
    pages = {one["severity"] for one in found["alarms"] if one["column"] == column}
    assert pages == ({"page"} if column == "" else {"ticket"})
    if column == "":  # drift is quiet: the inputs are as ever
        assert {one for _, one in alarming(found)} == {""}


def test_rejected_values_count_in_one_window(service: Service, monitor: Monitor) -> None:
    service.simulate("schema", rows=50)
    assert monitor()[0] == 3
    service.log_rows(quiet_rows(50))
    code, _, found = monitor()
    assert (code, found["windows"][0]["found"]["facts"]["refused"]) == (0, 0)


def test_a_closed_window_is_judged_once(service: Service, monitor: Monitor) -> None:
    service.log_rows(quiet_rows(130))
    _, said, found = monitor()
    assert [(one["number"], one["rows"]) for one in found["windows"]] == [(1, 50), (2, 50)]
    assert "30 predictions wait until their window has 50 rows" in said
    assert monitor()[2]["windows"] == []
    service.log_rows(quiet_rows(30))
    [third] = monitor()[2]["windows"]
    assert (third["number"], third["rows"]) == (3, 50)
    [open_one] = monitor("--open")[2]["open_windows"]
    assert open_one["rows"] == 10
    assert len(monitor(window="70")[2]["windows"]) == 2  # another size is another series


def test_days_close_when_they_are_over(service: Service, monitor: Monitor) -> None:
    for day in range(3):
        service.log_rows(quiet_rows(60, day), ids(START + day * DAY, 60))
    service.log_rows(quiet_rows(60, 9))  # today
    _, said, found = monitor(window="1d")
    assert [one["start"][:10] for one in found["windows"]] == [
        "2026-03-01", "2026-03-02", "2026-03-03",
    ]  # fmt: skip
    assert "60 predictions wait until their window is over" in said
    late = ids(START, 60, first=60)  # they waited elsewhere, and count where they arrived
    service.log_rows(quiet_rows(60, 8), late)
    assert monitor(window="1d")[2]["windows"] == []
    [open_one] = monitor("--open", window="1d")[2]["open_windows"]
    assert open_one["rows"] == 120


def test_only_rows_since_a_moment_are_judged(service: Service, monitor: Monitor) -> None:
    service.log_rows(quiet_rows(60), ids(START, 60))
    service.log_rows(quiet_rows(60, 1), ids(START + DAY, 60))
    [one] = monitor("--since", "2026-03-02", window="1d")[2]["windows"]
    assert one["start"].startswith("2026-03-02")
    assert monitor("--since", "yesterday")[0] == 2


def test_too_few_rows_are_no_alarm_and_are_said(service: Service, monitor: Monitor) -> None:
    for rows in (0, 3):
        if rows:
            service.log_rows(quiet_rows(rows))
        code, said, found = monitor()
        assert (code, found["windows"]) == (0, [])
        assert "No window is new." in said and ("3 predictions wait" in said) == bool(rows)


def test_an_alarm_is_one_episode_that_ends_when_it_is_quiet(
    service: Service, monitor: Monitor, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = quiet_rows(150)
    strange[:, 0] *= 2
    service.log_rows(strange)
    code, _, found = monitor()
    [area] = [
        one
        for one in found["alarms"]
        if (one["column"], one["evidence"]["runbook"][-8:]) == ("area", "drift.md")
    ]
    assert (code, area["windows"], area["state"]) == (3, 3, "open")
    assert area["evidence"]["rows"] == 50 and area["evidence"]["training rows"] == 400
    assert monitor()[0] == 3  # as long as it is open
    for one in found["alarms"]:
        assert main(["alarms", "acknowledge", str(one["id"]), "--because", "new homes"]) == 0
    assert monitor()[0] == 0
    service.log_rows(strange[:50])
    assert monitor()[0] == 0  # it has not been quiet yet
    service.log_rows(np.vstack([quiet_rows(50, seed) for seed in range(4)]))
    assert monitor()[2]["alarms"] == []
    capsys.readouterr()
    main(["alarms", "list", "--all"])
    assert "closed new homes; quiet" in capsys.readouterr().out
    service.log_rows(strange[:50])
    assert monitor()[0] == 3  # a new episode
    assert main(["alarms", "acknowledge", "99", "--because", "x"]) == 1
    assert "no open alarm 99" in capsys.readouterr().err


def test_a_new_champion_is_a_new_reference(
    project: Project, service: Service, monitor: Monitor
) -> None:
    strange = quiet_rows(100)
    strange[:, 0] *= 2
    service.log_rows(strange)
    assert monitor()[0] == 3
    write_model(project, version=2)
    service.reload()
    service.log_rows(quiet_rows(100))
    code, _, found = monitor()
    assert (code, {one["version"] for one in found["windows"]}) == (0, {"2"})
    with contextlib.closing(Database.of(project)) as database:
        old = monitored.alarms(database)
    assert {one.because for one in old} == {"version 2 serves now"}
    assert len(monitor("--version", "1", window="100")[2]["windows"]) == 1


def test_rows_of_a_model_that_is_gone_are_named(
    project: Project, service: Service, monitor: Monitor
) -> None:
    service.log_rows(quiet_rows(60))
    for path in project.store.glob(f"{service.predictor.digest}.json"):
        path.unlink()
    code, said, found = monitor()
    assert (code, found["windows"]) == (0, [])
    assert "Rows of version 1 are not judged" in said


def test_a_bundle_without_out_of_fold_errors_is_judged_by_its_inputs(
    project: Project, service: Service, monitor: Monitor
) -> None:
    write_model(project, version=2, out_of_fold=False)
    service.reload()
    names = service.log_rows(rows := quiet_rows(60))
    label(service, names, rows)
    code, said, found = monitor()
    assert code == 0 and len(found["windows"]) == 2
    assert "shown and not judged: its bundle has no out-of-fold errors" in said


def test_a_model_and_labels_that_are_old_are_said(
    project: Project, service: Service, monitor: Monitor
) -> None:
    names = service.log_rows(rows := quiet_rows(60))
    label(service, names, rows)
    monitor()
    record = next(project.store.glob("*.json"))
    write_json(record, read_json(record) | {"created": "2020-01-01T00:00:00+00:00"})
    assert "Version 1 was made" in monitor()[1]
    later = datetime.datetime.now(datetime.UTC) + 100 * DAY
    [*_, note] = monitoring.run(project, Asked(Size.parse("50")), later).notes
    assert "last judged label of version 1 arrived 100 days ago" in note


LABELS: dict[str, tuple[dict[str, Any], float, str | None]] = {
    "sound": ({}, 0.0, None),
    "in another unit": ({}, -1500.0, "bias"),
    "dated before the prediction": ({"observed_at": to_text(START - 10 * DAY)}, 0.0, "dates"),
    "dated in the future": ({"observed_at": to_text(START + 9999 * DAY)}, 0.0, "dates"),
}


@pytest.mark.parametrize(("fields", "off", "monitor_"), LABELS.values(), ids=LABELS)
def test_strange_ground_truth_is_an_alarm(
    fields: dict[str, Any], off: float, monitor_: str | None, service: Service, monitor: Monitor
) -> None:
    names = service.log_rows(rows := quiet_rows(100), ids(START, 100))
    label(service, names, rows, off, **fields)
    code, _, found = monitor()
    assert code == (3 if monitor_ else 0)
    assert {one["monitor"] for one in found["alarms"]} == ({monitor_} if monitor_ else set())


def test_a_label_counts_once_and_its_correction_where_it_arrives(
    service: Service, monitor: Monitor
) -> None:
    names = service.log_rows(rows := quiet_rows(110), ids(START, 110))
    for _ in range(2):
        label(service, names[:60], rows[:60], source="clinic")
    service.add(
        [Label(names[0], 77.0), Label("nobody", 5.0)]
    )  # a correction, before anybody looked
    found = []
    for _ in range(2):
        found += [one for one in monitor()[2]["windows"] if one["stream"] == "truth"]
        label(service, names[60:], rows[60:])
    assert [(one["number"], one["rows"]) for one in found] == [(1, 50), (2, 50)]
    assert found[0]["found"]["facts"]["sources"] == {"clinic": 50}


def test_missing_and_broken_values_are_alarms(
    project: Project, service: Service, monitor: Monitor
) -> None:
    rows = quiet_rows(100)
    rows[:, 3] = np.nan
    service.log_rows(rows)
    with contextlib.closing(sqlite3.connect(project.log)) as log, log:
        log.execute("UPDATE predictions SET value = NULL WHERE arrival = 7")
    code, said, found = monitor()
    assert (code, alarming(found)) == (3, {("missing", "balcony"), ("health", "prediction")})
    assert "answered with no number" in said


def test_what_is_asked_is_explained_and_shown(service: Service, monitor: Monitor) -> None:
    service.simulate("none", rows=100)
    code, said, _ = monitor("--explain")
    assert code == 0
    for text in (
        "tells the last 50 rows from the first 50",
        "Wasserstein distance",
        "CUSUM of the log mean loss",
        "expected",
        "median lag",
    ):
        assert text in said
    assert monitor(window="soon")[0] == 1


def test_a_change_of_concept_costs_a_fifth_of_the_error(service: Service) -> None:
    loss = {}
    for scenario in ("none", "level", "slopes", "noise"):
        service.simulate(scenario, rows=2000)
        with service.log.database.begin() as connection:
            found = connection.exec_driver_sql(
                "SELECT p.value, e.value FROM label_events e JOIN predictions p ON p.id = e.prediction_id"
            ).all()
            connection.execute(sa.text("DELETE FROM label_events"))
        loss[scenario] = float(np.sqrt(np.mean([(one - two) ** 2 for one, two in found])))
    assert all(loss[one] > 1.2 * loss["none"] for one in ("level", "slopes", "noise")), loss


def test_simulated_traffic_needs_errors_to_draw_from(project: Project, service: Service) -> None:
    write_model(project, version=2, out_of_fold=False)
    service.reload()
    with pytest.raises(MlrefError, match="no out-of-fold errors to draw from"):
        service.simulate("none")
    assert Store(project.store).alias("champion") == service.predictor.digest
