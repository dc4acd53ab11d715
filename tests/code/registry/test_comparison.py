"""The judgement about a model: what the files and the champion's record say, put before the gate."""

from pathlib import Path
from typing import Any

import pytest

from mlref.bundle.store import Store
from mlref.core.storage import Project, digest
from mlref.registry import audit, comparison
from tests.projects import crown


def judged(project: Project) -> dict[str, Any]:
    """The content of gate.json about a project's bundle."""
    gate: dict[str, Any] = comparison.judge(project, Store(project.store))[0]["gate"]
    return gate


def test_the_decision_about_a_bundle_is_the_content_of_gate_json(project: Project) -> None:
    gate = judged(project)
    assert set(gate) == {"verdict", "reasons", "digest", "champion", "checks", "since", "look"}
    assert (gate["verdict"], gate["champion"], gate["look"]) == ("promote", None, 1)
    assert gate["digest"] == digest(project.bundle / "MANIFEST.json")
    assert set(gate["checks"][0]) == {"name", "passed", "verdict", "reason", "figures"}
    name = crown(project)
    assert judged(project)["champion"] == name


def test_a_champion_of_an_older_record_is_kept_and_the_gate_says_so(project: Project) -> None:
    """Neither its rows nor its recipe nor its partial correlations are known."""
    name = crown(project)
    (project.store / f"{name}.rows").unlink()
    Store(project.store).add(project.bundle, project.model, {"digest": name, "version": "1"})
    gate = judged(project)
    assert gate["verdict"] == "keep"
    assert "not recorded which rows the champion was trained on" in gate["reasons"][0]


def test_a_champion_that_cannot_be_loaded_is_replaced(project: Project) -> None:
    (project.store / crown(project) / "model.onnx").write_bytes(b"x")
    gate = judged(project)
    assert gate["verdict"] == "promote"
    reason = "The champion cannot be loaded, so this model replaces it: "
    assert any(check["reason"].startswith(reason) for check in gate["checks"])


def test_in_place_of_a_champion_that_cannot_be_loaded_no_leak_gets_in(project: Project) -> None:
    name, store = crown(project), Store(project.store)
    record = comparison.judge(project, store)[0] | {"version": "1"}
    told_nothing = dict.fromkeys(record["partial_correlations"]["columns"], 0.0)
    record["partial_correlations"] = record["partial_correlations"] | {"columns": told_nothing}
    store.add(project.bundle, project.model, record)
    (project.store / name / "model.onnx").write_bytes(b"x")
    gate = judged(project)
    assert gate["verdict"] == "keep"
    assert "A leak is likelier than progress" in gate["reasons"][0]


@pytest.mark.parametrize("since", [None, "2026-11-01T00:00:00+00:00"])
def test_every_model_and_every_time_is_one_look(tmp_path: Path, since: str | None) -> None:
    store = Store(tmp_path)
    record = {"digest": "a", "version": "1"}
    audit.note(store, "promote", record, "first")
    audit.note(store, "keep", record, "the same again")
    audit.note(store, "rollback", {"digest": "z", "version": "9"}, "no look")
    audit.note(store, "keep", record | {"digest": "b"}, "second", since=since)
    assert audit.looks(store, "b", since) == 2
    assert audit.looks(store, "c") == 3
    assert audit.looks(store, "b", "2026-11-02T00:00:00+00:00") == 3
