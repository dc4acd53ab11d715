"""The judgement of the bundle against the champion in the store, without MLflow."""

import pytest

from mlref.bundle.store import Store
from mlref.registry.publish import judge
from mlref.storage import Project, digest
from tests.projects import RENTS_TEXT, Rivals, adopt, rents, run_data, run_model


def crown(project: Project) -> str:
    """Make the bundle of this project the champion of its store."""
    store, name = Store(project.store), digest(project.bundle / "MANIFEST.json")
    store.add(project.bundle, project.model, {"digest": name, "version": "1"})
    store.point("champion", name)
    return name


def test_without_a_champion_the_model_is_judged_alone(trained: Project) -> None:
    """The content of gate.json has the shape that is fixed."""
    gate = judge(trained, Store(trained.store))
    assert set(gate) == {"verdict", "reasons", "digest", "champion", "checks"}
    assert (gate["verdict"], gate["champion"]) == ("promote", None)
    assert gate["digest"] == digest(trained.bundle / "MANIFEST.json")
    assert [check["passed"] for check in gate["checks"]] == [True] * 4
    assert set(gate["checks"][0]) == {"name", "passed", "figures"}


def test_the_champion_itself_is_kept(project: Project) -> None:
    """It predicts the same."""
    name = crown(project)
    gate = judge(project, Store(project.store))
    assert (gate["verdict"], gate["champion"]) == ("keep", name)
    assert gate["reasons"] == ["It predicts the same as the champion."]


def test_a_worse_model_is_blocked(project: Project, rivals: Rivals) -> None:
    """On the same held-out rows, with confidence."""
    crown(project)
    adopt(project, rivals["worse"])
    gate = judge(project, Store(project.store))
    assert gate["verdict"] == "block"
    assert any("It is worse than the champion by" in reason for reason in gate["reasons"])


def test_a_better_model_is_promoted(project: Project, rivals: Rivals) -> None:
    """The other way round."""
    adopt(project, rivals["worse"])
    crown(project)
    adopt(project, rivals["better"])
    gate = judge(project, Store(project.store))
    assert gate["verdict"] == "promote"
    assert any("It beats the champion by" in reason for reason in gate["reasons"])


def test_a_model_that_the_rows_cannot_tell_apart_is_kept(project: Project, rivals: Rivals) -> None:
    """Another model of the same quality."""
    crown(project)
    adopt(project, rivals["tied"])
    gate = judge(project, Store(project.store))
    assert gate["verdict"] == "keep"
    assert "cannot tell it from the champion" in gate["reasons"][0]


@pytest.mark.parametrize("name", ["model.onnx", "MANIFEST.json"])
def test_a_champion_that_was_tampered_with_is_replaced(
    project: Project, name: str, rivals: Rivals
) -> None:
    """With a sentence that names the file."""
    champion = crown(project)
    adopt(project, rivals["better"])
    (project.store / champion / name).write_bytes(b"x")
    gate = judge(project, Store(project.store))
    assert gate["verdict"] == "promote"
    assert f"so this model replaces it: The bundle's {name} was altered" in gate["reasons"][-1]


def test_a_champion_that_is_not_registered_is_replaced(project: Project, rivals: Rivals) -> None:
    """Somebody deleted its record: that must not stop every model after it."""
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
    """It cannot predict these rows."""
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
    """The rows are of the same columns with other values."""
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
    """Its columns are the same, and so it can predict."""
    crown(project)
    project.contract.write_text(RENTS_TEXT.replace("Living area", "Total area"))
    run_model(project)
    gate = judge(project, Store(project.store))
    assert gate["verdict"] == "keep"
