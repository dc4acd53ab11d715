"""The judgement of the bundle against the champion in the store, without MLflow."""

import datetime
import re
from typing import Any

import pandas as pd
import pytest

from mlref.bundle.store import Store
from mlref.core.storage import Project, digest, read_json, write_json
from mlref.registry.comparison import judge, judge_again
from tests.projects import RENTS_TEXT, Rivals, adopt, crown, rents, run_data, run_model, set_params


def test_without_a_champion_the_model_is_judged_alone(trained: Project) -> None:
    gate = judge(trained, Store(trained.store))
    assert set(gate) == {"verdict", "reasons", "digest", "champion", "checks"}
    assert (gate["verdict"], gate["champion"]) == ("promote", None)
    assert gate["digest"] == digest(trained.bundle / "MANIFEST.json")
    assert all(check["passed"] for check in gate["checks"])
    assert set(gate["checks"][0]) == {"name", "passed", "verdict", "reason", "figures"}


def test_the_champion_itself_is_kept(project: Project) -> None:
    name = crown(project)
    gate = judge(project, Store(project.store))
    assert (gate["verdict"], gate["champion"]) == ("keep", name)
    assert gate["reasons"] == ["It predicts the same as the champion."]


def test_a_worse_model_is_blocked(project: Project, rivals: Rivals) -> None:
    crown(project)
    adopt(project, rivals["worse"])
    gate = judge(project, Store(project.store))
    assert gate["verdict"] == "block"
    assert any("It is worse than the champion by" in reason for reason in gate["reasons"])


def test_a_better_model_is_promoted(project: Project, rivals: Rivals) -> None:
    adopt(project, rivals["worse"])
    crown(project)
    adopt(project, rivals["better"])
    gate = judge(project, Store(project.store))
    assert gate["verdict"] == "promote"
    assert any("It beats the champion by" in reason for reason in gate["reasons"])


def test_a_model_that_the_rows_cannot_tell_apart_is_kept(project: Project, rivals: Rivals) -> None:
    crown(project)
    adopt(project, rivals["tied"])
    gate = judge(project, Store(project.store))
    assert gate["verdict"] == "keep"
    assert "cannot tell it from the champion" in gate["reasons"][0]


@pytest.mark.parametrize("name", ["model.onnx", "MANIFEST.json"])
def test_a_champion_that_was_tampered_with_is_replaced(
    project: Project, name: str, rivals: Rivals
) -> None:
    champion = crown(project)
    adopt(project, rivals["better"])
    (project.store / champion / name).write_bytes(b"x")
    gate = judge(project, Store(project.store))
    assert gate["verdict"] == "promote"
    assert f"so this model replaces it: The bundle's {name} was altered" in gate["reasons"][-1]


def test_a_champion_that_is_not_registered_is_replaced(project: Project, rivals: Rivals) -> None:
    champion = crown(project)
    adopt(project, rivals["better"])
    (project.store / f"{champion}.json").unlink()
    gate = judge(project, Store(project.store))
    assert gate["verdict"] == "promote"
    assert "so this model replaces it" in gate["reasons"][-1]


@pytest.mark.parametrize(
    ("old", "new"),
    [("area", "surface"), ("rent", "price")],
    ids=["a feature renamed", "another target"],
)
def test_a_champion_of_another_contract_is_replaced(project: Project, old: str, new: str) -> None:
    crown(project)
    text = RENTS_TEXT.replace(f"name: {old}\n", f"name: {new}\n")
    project.contract.write_text(text.replace(f"column: {old},", f"column: {new},"))
    source = project.root / "data" / "source" / "rents.csv"
    rents().rename(columns={old: new}).to_csv(source, index=False)
    run_data(project)
    run_model(project)
    gate = judge(project, Store(project.store))
    assert gate["verdict"] == "promote"
    assert "The champion is of another contract (rents) and cannot predict" in gate["reasons"][-1]


def test_a_champion_whose_contract_refuses_these_rows_is_replaced(project: Project) -> None:
    crown(project)
    project.contract.write_text(RENTS_TEXT.replace("valid: [0, 100]", "valid: [0, 200]"))
    frame = rents()
    frame["balcony"] = frame["balcony"].where(frame["balcony"] < 15, 150.0)
    frame.to_csv(project.root / "data" / "source" / "rents.csv", index=False)
    run_data(project)
    run_model(project)
    gate = judge(project, Store(project.store))
    assert gate["checks"][-1]["passed"]
    assert "The champion is of another contract (rents)" in gate["reasons"][-1]


def test_a_champion_of_a_reworded_contract_is_compared(project: Project) -> None:
    crown(project)
    project.contract.write_text(RENTS_TEXT.replace("Living area", "Total area"))
    run_model(project)
    gate = judge(project, Store(project.store))
    assert gate["verdict"] == "keep"


def test_with_too_few_rows_that_neither_has_seen_the_champion_is_kept(project: Project) -> None:
    crown(project)
    set_params(project, split={"seed": 5})
    run_data(project)
    run_model(project)
    gate = judge(project, Store(project.store))
    assert gate["verdict"] == "keep"
    (reason,) = gate["reasons"]
    assert re.fullmatch(
        r"Only \d rows have been seen by neither .*; at least 20 are needed .*", reason
    )


def test_rows_that_arrive_leave_the_others_on_their_side(project: Project) -> None:
    crown(project)
    frame = pd.concat([rents(), rents(60, seed=8)])
    frame.to_csv(project.root / "data" / "source" / "rents.csv", index=False)
    run_data(project)
    run_model(project)
    figures = {c["name"]: c["figures"] for c in judge(project, Store(project.store))["checks"]}
    assert figures["not_worse_than_champion"]["rows"] == figures["enough_rows"]["rows"] > 30


@pytest.mark.parametrize("params", [None, {"split": {"seed": 4, "share": 0.2}}])
def test_a_champion_whose_rows_are_not_known_is_kept(
    project: Project, rivals: Rivals, params: dict[str, Any] | None
) -> None:
    path = project.store / f"{crown(project)}.json"
    record = {key: value for key, value in read_json(path).items() if key != "params"}
    write_json(path, record | ({"params": params} if params else {}))
    adopt(project, rivals["better"])
    gate = judge(project, Store(project.store))
    assert gate["verdict"] == "keep"
    assert (
        "The record of version 1 does not say which rows it has trained on." in gate["reasons"][0]
    )


def test_a_registered_model_of_another_contract_is_blocked(project: Project) -> None:
    older = crown(project)
    project.contract.write_text(
        RENTS_TEXT.replace("name: area\n", "name: size\n").replace("column: area,", "column: size,")
    )
    source = project.root / "data" / "source" / "rents.csv"
    rents().rename(columns={"area": "size"}).to_csv(source, index=False)
    run_data(project)
    run_model(project)
    crown(project)
    now = datetime.datetime.now(datetime.UTC).isoformat()
    path = project.store / f"{older}.json"
    metrics = read_json(project.metrics) | {"digest": older}
    write_json(path, read_json(path) | {"metrics": metrics, "gate": {}, "created": now})
    gate = judge_again(project, Store(project.store), "1")
    assert gate["verdict"] == "block"
    assert gate["reasons"] == ["It is of another contract (rents) and cannot predict these rows."]
