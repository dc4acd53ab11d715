"""A live service, traffic with a fault, and the monitor; what reads its metrics is asked for real."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlref.core.storage import Project
from tests.code.monitoring.conftest import write_model
from tests.projects import PARAMS

pytest.importorskip("mlref.serving")  # a fork may have taken the service out

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PATIENCE = 60.0
RULES = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
ALERTS = [rule["alert"] for group in RULES["groups"] for rule in group["rules"]]
TESTS = yaml.safe_load((DEPLOY / "prometheus" / "rules_test.yml").read_text())["tests"]


def tool(name: str) -> str:
    """The path of a program of Debian's package `prometheus`, which CI installs."""
    if found := shutil.which(name):
        return found
    assert not os.environ.get("CI"), f"{name} is missing: apt-get install prometheus"
    pytest.skip(f"{name} is missing: apt-get install prometheus")


def mlref(project: Project, *arguments: str) -> tuple[int, str]:
    """Run a command in a clone."""
    done = subprocess.run(
        [sys.executable, "-m", "mlref.cli", *arguments],
        cwd=project.root, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone with a model of the rents."""
    project = Project(tmp_path_factory.mktemp("monitored"))
    project.params.parent.mkdir()
    project.contract.write_text("")
    project.params.write_text(yaml.safe_dump(PARAMS))
    write_model(project)
    return project


@pytest.fixture(scope="module")
def url(project: Project) -> Iterator[str]:
    """The address of a service of its champion."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mlref.cli", "serve", "--port", "0", "--drain", "0"],
        cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split("answers at ")[1].split()[0]
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def judged(project: Project) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and alarms of a run of the monitor."""
    file = project.root / "found.json"
    code, said = mlref(project, "monitor", "--window", "50", "--json", str(file))
    assert code in (0, 3), said
    return code, json.loads(file.read_text())["alarms"]


@pytest.mark.load
def test_quiet_is_quiet_and_each_fault_is_named(project: Project, url: str) -> None:
    for scenario, rows, expected in (("none", 200, 0), ("level", 400, 3), ("unit", 200, 3)):
        code, said = mlref(project, "simulate", scenario, "--url", url, "--rows", str(rows))
        assert code == 0 and f"Answered {rows} rows" in said
        code, alarms = judged(project)
        assert code == expected, (scenario, alarms)
        if scenario == "level":  # the loss is named, and drift is quiet
            [page] = alarms
            assert page["monitor"] in ("bias", "loss") and page["severity"] == "page"
    assert {one["column"] for one in alarms} >= {"", "area"}
    page = urllib.request.urlopen(f"{url}/monitor", timeout=PATIENCE)
    assert "area" in page.read().decode()
    assert "style-src 'sha256-" in page.headers["content-security-policy"]


def test_the_alert_rules_fire_and_stay_quiet_as_their_cases_say() -> None:
    done = subprocess.run(
        [tool("promtool"), "test", "rules", "rules_test.yml"],
        cwd=DEPLOY / "prometheus", capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    """A rule that is removed leaves a case that expects it, and promtool fails."""
    cases = {
        (one["alertname"], bool(one["exp_alerts"]))
        for test in TESTS
        for one in test["alert_rule_test"]
    }
    assert cases == {(alert, fires) for alert in ALERTS for fires in (True, False)}


def test_alerts_name_a_runbook_that_is_there() -> None:
    rules = [rule for group in RULES["groups"] for rule in group["rules"]]
    assert {rule["labels"]["severity"] for rule in rules} == {"page", "ticket"}
    assert all((ROOT / rule["annotations"]["runbook"]).is_file() for rule in rules)


def expressions() -> list[str]:
    """Every expression of the dashboard."""
    board = json.loads((DEPLOY / "grafana" / "mlref.json").read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def test_a_real_prometheus_answers_every_expression_of_the_dashboard(
    url: str, tmp_path: Path
) -> None:
    bad = urllib.request.Request(f"{url}/v1/predict", b'{"instances": [{}]}')
    with pytest.raises(
        urllib.error.HTTPError
    ):  # from then on there are rejected values to be counted
        urllib.request.urlopen(bad, timeout=PATIENCE)
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"]["scrape_interval"] = "100ms"
    config["scrape_configs"][0]["static_configs"] = [{"targets": [url.removeprefix("http://")]}]
    shutil.copy(DEPLOY / "prometheus" / "rules.yml", tmp_path)
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    options = ("--config.file=prometheus.yml", "--storage.tsdb.path=data")
    command = [tool("prometheus"), *options, "--web.listen-address=127.0.0.1:0"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            said = ""
            while "Server is ready" not in said:
                said += server.stderr.readline()
            [address] = re.findall(r'"Listening on" address="?([\d.:]+)', said)
            deadline = time.monotonic() + PATIENCE
            while not ask(address, "count_over_time(model_info[1m]) >= 3"):
                assert time.monotonic() < deadline
                time.sleep(0.2)
            names = {one["metric"]["__name__"] for one in ask(address, '{job="mlref"}')}
            for expression in expressions():
                ask(address, expression.replace("$__rate_interval", "5s"))
        finally:
            server.terminate()
    known = {name for name in names if name.startswith(("model_", "prediction_log", "http_"))}
    for text in (*expressions(), (DEPLOY / "prometheus" / "rules.yml").read_text()):
        for name in known_names(text):
            assert name in known or name.startswith("model_monitor_") or "process_" in name, name


DATADOG = """
import json, sys, yaml
from datadog_checks.base import OpenMetricsBaseCheckV2
from datadog_checks.base.stubs import aggregator
[instance] = yaml.safe_load(open(sys.argv[1]))["instances"]
instance["openmetrics_endpoint"] = sys.argv[2]
check = OpenMetricsBaseCheckV2("openmetrics", {}, [instance])
print(json.dumps([[check.run(), check.run()], aggregator.metric_names]))
"""
"""In a process of its own, since it patches what it imports."""


def test_the_real_check_of_datadog_reads_the_service(url: str) -> None:
    config = DEPLOY / "datadog" / "openmetrics.d.yaml"
    command = [sys.executable, "-c", DATADOG, str(config), f"{url}/metrics"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    faults, names = json.loads(done.stdout.splitlines()[-1])
    assert faults == ["", ""]
    found = {name.removeprefix("mlref.").rsplit(".", 1)[0] for name in names}
    wanted = yaml.safe_load(config.read_text())["instances"][0]["metrics"]
    unknown = {name for name in wanted if name not in found and "monitor" not in name}
    assert unknown <= {"model_input_invalid"}  # it has no sample before something is rejected
    assert "model_monitor_open_alarms" in found


def known_names(text: str) -> set[str]:
    """Names of series in an expression."""
    return set(re.findall(r"\b(?:model|prediction_log|http_server|process)_\w+", text)) - {
        "http_route", "http_response_status_code", "process_start_time_seconds",
    }  # fmt: skip


def ask(address: str, expression: str) -> Any:
    """What Prometheus answers; an expression that is none is a 400, which raises."""
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"http://{address}/api/v1/query?{query}", timeout=10) as response:
        return json.load(response)["data"]["result"]
