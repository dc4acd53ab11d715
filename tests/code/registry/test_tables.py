"""What a terminal shows: versions, the audit trail, a decision, the end of a registration."""

import datetime

import pytest

from mlref import console
from mlref.bundle.store import Store
from mlref.cli import main
from mlref.core.digits import interval
from mlref.core.storage import Project
from mlref.registry import audit, git, tables


def test_every_version_is_listed_newest_first(three: Project) -> None:
    store = Store(three.store)
    head, rows = tables.models(store)
    assert head == ["version", "alias", "model", "RMSE", "verdict", "made", "bundle"]
    cells = [dict(zip(head, row, strict=True)) for row in rows]
    assert [row["version"] for row in cells] == ["3", "2", "1"]
    assert [row["alias"] for row in cells] == ["challenger", "", "champion"]
    assert [row["verdict"] for row in cells] == ["block", "keep", "promote"]
    first = store.records()[0]
    assert cells[-1]["RMSE"] == interval(first["metrics"]["rmse"])
    assert cells[-1]["bundle"] == first["digest"][:8]
    made = datetime.datetime.strptime(cells[-1]["made"], "%Y-%m-%d %H:%M:%SZ")
    assert made.isoformat() == first["created"].removesuffix("+00:00")


def test_trail_and_decision_fit_the_terminal(
    three: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_width", lambda: 80)
    store = Store(three.store)
    gate = store.records()[-1]["gate"]
    console.show("\n".join(tables.trail(store)))
    console.show(console.table(*tables.explanation(gate)))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    said = " ".join(printed.split())
    assert "No room for" not in said
    for word in (*gate["reasons"][0].split(), *(check["name"] for check in gate["checks"])):
        assert word in said


def test_the_trail_says_when_with_a_zone_who_what_and_why(project_of_three: Project) -> None:
    store = Store(project_of_three.store)
    audit.note(store, "promote", store.records()[1], "planted", forced=True)
    *_, entry, reason = tables.trail(store)
    assert entry.endswith("  promote (forced)  version 2") and reason == "    planted"
    datetime.datetime.strptime(entry[:20], "%Y-%m-%d %H:%M:%SZ")
    audit.note(store, "rollback", store.records()[0], "")
    assert tables.trail(store)[-1].endswith("rollback  version 1")


def test_a_registration_ends_with_metrics_verdict_warning_and_the_next_command(
    registered: Project,
) -> None:
    (record,) = Store(registered.store).records()
    assert "version 1 (challenger)" in tables.headline(record, champion=False)
    head, rows = tables.evaluation(record | {"model": "a_name_that_is_longer_than_a_column"})
    assert head == ["30 rows of the test set", "RMSE", "MAE"]
    assert [row[0].strip() for row in rows][1:] == ["mean", "single_feature"]
    logarithm = {"value": 0.5, "lower": 0.4, "upper": 0.6}
    of = record["metrics"] | {"rmse_log": logarithm, "baselines": {}}
    head, [row] = tables.evaluation(record | {"metrics": of})
    assert head[1:] == ["RMSE of the logarithm", "RMSE", "MAE"]
    assert row[1:] == [interval(of[score]) for score in ("rmse_log", "rmse", "mae")]
    said = tables.advice(record, champion=True)
    assert "Verdict: promote\n" in said and record["gate"]["reasons"][-1] in said
    assert "Warning: The commit of this model is not recorded: git refuses to answer" in said
    assert said.endswith("\n\nNext: make serve")
    again = tables.advice(record, champion=True, reasons=False)
    assert "Verdict" not in again
    assert "`mlref audit` says by whom" in tables.advice(record, champion=False)


def test_where_the_gate_blocks_the_warning_about_the_code_is_printed_too(
    three: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(three.root)
    monkeypatch.setattr(git, "check_repository", lambda _: None)
    assert main(["register"]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("Warning: The commit of this model is not recorded")
    assert "worse than the champion" in printed.err


LOOKS = {1: "", 2: " (2nd look", 3: " (3rd look", 4: " (4th look", 12: " (12th"}


@pytest.mark.parametrize(("look", "words"), LOOKS.items())
def test_looks_at_the_test_set_are_counted(look: int, words: str) -> None:
    assert tables.headed({"verdict": "keep", "look": look}).startswith(f"Verdict: keep{words}")
    assert tables.headed({"verdict": "keep"}) == "Verdict: keep"
