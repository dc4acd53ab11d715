"""`mlref monitor --act`: once for an episode, within the policy, and mended after a kill at any step."""

import contextlib
import datetime
import json
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlref.bundle.store import Store
from mlref.cli import main
from mlref.core.errors import EnvironmentFault, MlrefError
from mlref.core.storage import Project, locked
from mlref.monitoring import act
from mlref.monitoring.act import Retraining
from mlref.monitoring.rollback import looks
from mlref.monitoring.simulate import simulate
from mlref.prediction_log import monitored
from mlref.registry import audit
from mlref.registry.register import Since
from tests.code.monitoring.conftest import ERROR, Said, Service, write_model
from tests.fakes import CONTRACT_TEXT
from tests.projects import set_params

Monitor = Callable[..., Said]
Windows = Callable[..., str]
START = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
LEVEL = 0.8 * ERROR
"""By how much the scenario `level` moves the truth."""


class Crash(BaseException):
    """The process ends here."""


def crown(project: Project, version: int, off: float = 0.0, why: str = "better") -> str:
    """Promote a new model; returns its digest."""
    digest = write_model(project, version, off=off)
    audit.note(Store(project.store), "promote", {"version": version, "digest": digest}, why)
    return digest


class Retrain:
    """In place of a retraining: counts, and does what a test plans for each call."""

    def __init__(self) -> None:
        self.plan: list[Callable[[Project], str]] = []
        self.asked: list[Since] = []

    def __call__(self, project: Project, since: Since, report: object) -> str:
        self.asked.append(since)
        return self.plan.pop(0)(project) if self.plan else "Verdict: keep."


@pytest.fixture
def retrain(monkeypatch: pytest.MonkeyPatch) -> Retrain:
    made = Retrain()
    monkeypatch.setattr(act, "retrain", made)
    return made


@pytest.fixture
def project(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The clone with a contract, whose champion the audit trail knows."""
    project.contract.write_text(CONTRACT_TEXT)
    monkeypatch.setattr("mlref.registry.promote.sync_aliases", lambda *_: None)
    monkeypatch.setattr("mlref.monitoring.report.publish", lambda *_: None)
    record = Store(project.store).records()[0]
    audit.note(Store(project.store), "promote", record, "the first")
    return project


@pytest.fixture
def windows(service: Service, monitor: Monitor) -> Windows:
    """Sends two windows of 50 rows, after which the monitor acts; what it said the last time."""
    seeds = iter(range(100))

    def send(scenario: str, count: int = 1, code: int | None = None, rows: int = 100) -> str:
        for _ in range(count):
            simulate(service.project, scenario, service, rows, next(seeds), world="1")
            assert service.log.flush(60)
            found, said, _ = monitor("--act")
            assert found in (0, 3) if code is None else found == code, said
        return said

    return send


def trail(project: Project) -> list[str]:
    """What the audit trail tells, in its order."""
    return [entry["action"] for entry in audit.read(Store(project.store))]


def refuse(project: Project) -> str:
    raise MlrefError("10 of 200 new labels are of another unit")


def test_an_alarm_retrains_once_on_the_rows_since_the_change(
    project: Project, windows: Windows, retrain: Retrain
) -> None:
    """The gate keeps the champion, so that the alarm stays open and a person has to look."""
    set_params(project, retrain={"rows": 150})
    assert "ACT" not in windows("none", code=0)
    start = datetime.datetime.now(datetime.UTC)
    windows("none", rows=50)
    before = datetime.datetime.now(datetime.UTC)
    said = windows("level", code=3)
    assert "waits: 100 of 150 labelled rows are there" in said and not retrain.asked
    said = windows("level", code=3, rows=50)
    assert "ACT: Retrained for alarm 1" in said and "Verdict: keep." in said
    said = windows("level", code=3)
    assert "ACT: Alarm 1 is open still after its retraining: a person has to look." in said
    [since] = retrain.asked
    assert start < since.time < before, "after the last quiet row"
    assert since.because.startswith("alarm 1 (page, version 1): bias")
    assert trail(project) == ["promote", "retrain"]


@pytest.mark.parametrize(("code", "said"), [(0, "Verdict: keep."), (1, "Error: too few labels")])
def test_an_alarm_may_start_a_proposal_of_what_was_learned_as_a_command(
    code: int, said: str, project: Project, windows: Windows, retrain: Retrain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    set_params(project, act={"command": "learn --propose"})
    asked = []

    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(words[-2:])
        return subprocess.CompletedProcess(words, code, *((said, "") if code == 0 else ("", said)))

    monkeypatch.setattr(act.subprocess, "run", run)
    assert said in windows("level") and not retrain.asked
    assert asked == [["learn", "--propose"]]


@pytest.mark.parametrize("die", ["never", "before register", "after the pointer"])
def test_a_new_champion_is_quiet_and_a_killed_retraining_goes_on(
    die: str, project: Project, service: Service, windows: Windows, retrain: Retrain
) -> None:
    def promoted(clone: Project) -> str:
        if die != "before register":
            crown(clone, 2, LEVEL)
        if die != "never":
            raise Crash
        return "Verdict: promote."

    retrain.plan.append(promoted)
    with contextlib.nullcontext() if die == "never" else pytest.raises(Crash):
        windows("level")
    service.reload()
    assert ("ACT: Retrained for alarm 1" in windows("level")) == (die != "never")
    windows("level")
    assert len(retrain.asked) == 2 - (die == "never") and len({*retrain.asked}) == 1
    assert trail(project) == ["promote", "retrain", *["promote"] * (die != "before register")]


def test_another_retraining_or_disk_fault_leaves_the_act_to_the_next_run(
    project: Project, windows: Windows, monitor: Monitor, retrain: Retrain
) -> None:
    def busy(clone: Project) -> str:
        raise EnvironmentFault("A retraining runs already", OSError("locked"))

    retrain.plan.append(busy)
    assert "A retraining runs already" in windows("level", code=4)
    with locked(project.store / ".act"):
        assert "ACT: Another `mlref monitor --act` is at work" in monitor("--act")[1]
    assert "ACT: Retrained for alarm 1" in monitor("--act")[1] and len(retrain.asked) == 2


def test_refused_labels_end_the_act_and_change_nothing(
    project: Project, windows: Windows, retrain: Retrain
) -> None:
    retrain.plan.append(refuse)
    champion = Store(project.store).alias("champion")
    assert "Refused: 10 of 200 new labels" in windows("level")
    assert "is open still" in windows("level", code=3)
    assert Store(project.store).alias("champion") == champion and len(retrain.asked) == 1


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"cool_down": 30}, "waits: the last one was 2 windows ago (act.cool_down: 30)"),
        ({"cool_down": 1, "budget": 1}, "waits for a person: 1 in 30 windows are spent"),
        ({"budget": 0}, "waits for a person: 0 in 30 windows"),
        ({"alarms": []}, ""),
    ],
    ids=("cool_down", "budget", "no budget", "no alarm"),
)
def test_a_second_episode_waits_for_the_policy(
    policy: dict[str, Any], said: str, project: Project, service: Service, windows: Windows,
    retrain: Retrain,
) -> None:  # fmt: skip
    set_params(project, act={"cool_down": 0} | policy)
    windows("none")
    [window] = monitored.windows(service.log.database, 1, stream="truth")
    earlier = Retraining(99, window.end, window.start, "another episode", "Verdict: keep.")
    monitored.leave(service.log.database, START, acts=json.dumps([earlier]))
    found = windows("level", code=3)
    assert said in found and ("ACT" in found) == bool(said)
    assert not retrain.asked and trail(project) == ["promote"]


def test_a_promotion_that_is_shown_worse_is_rolled_back_even_by_a_run_that_is_killed(
    project: Project, service: Service, windows: Windows, monkeypatch: pytest.MonkeyPatch,
    retrain: Retrain,
) -> None:  # fmt: skip
    """Killed after the line of the audit trail, before the pointer."""
    first = Store(project.store).alias("champion")
    crown(project, 2, off=-300)
    service.reload()

    def die(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(Store, "point", die)
        windows("none")
    assert trail(project)[-1] == "rollback" and Store(project.store).alias("champion") != first
    said = windows("none", code=3)
    assert (
        "ACT: Rolled back: on the 50 rows labelled since its promotion, version 2 has RMSE" in said
    )
    assert Store(project.store).alias("champion") == first
    assert "(look 1: p = " in audit.read(Store(project.store))[-1]["reason"]
    service.reload()
    windows("none", 2)
    assert trail(project) == ["promote", "promote", "rollback"] and not retrain.asked


def test_a_promotion_that_may_be_worse_by_chance_stays(
    project: Project, service: Service, windows: Windows
) -> None:
    digest = crown(project, 2, off=30)
    service.reload()
    windows("none", 2)
    assert Store(project.store).alias("champion") == digest


def test_a_former_bundle_that_was_deleted_is_named_and_the_champion_stays(
    project: Project, service: Service
) -> None:
    first = Store(project.store).alias("champion")
    digest = crown(project, 2, off=-300)
    service.reload()
    service.simulate("none", 50, 1)
    shutil.rmtree(project.store / str(first))
    said = "\n".join(act.act(project, "50"))
    assert "Version 2 cannot be compared with the champion before it: The bundle has no" in said
    assert Store(project.store).alias("champion") == digest


def test_scored_files_are_not_acted_on(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["monitor", "--act", "--scored", "."]) == 2
    assert "No alarm of --scored files is kept" in capsys.readouterr().err


def taken_back(gain: float, months: int = 100) -> float:
    """Share of promotions that are rolled back in 40 looks; ``gain`` is the former model's, in errors."""
    draw = np.random.default_rng(1)
    found = 0
    for _ in range(months):
        noise, base = draw.normal(size=(2, 40 * 50))
        present, former = (base + gain) ** 2, (base + 0.1 * noise) ** 2
        found += any(look.chance < look.allowed for look in looks(present, former, 50, 0.05))
    return found / months


def test_the_error_is_spent_over_all_looks() -> None:
    """0.05 · 6 / (π² k²) at the k-th look: equal models but for noise; then a bias of half an error."""
    assert taken_back(0.1) <= 0.05 + 0.03, "100 promotions; at 5 % a look it is 0.29"
    assert taken_back(0.5, months=20) == 1.0
    assert [one.rows for one in looks(np.ones(120), np.ones(120), 50, 0.05)] == [50, 100]
    assert {one.chance for one in looks(np.ones(120), np.ones(120), 50, 0.05)} == {1.0}
