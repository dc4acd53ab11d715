"""The sections of the model card that depend on what was measured."""

from typing import Any

import pytest

from mlref.core.errors import MlrefError
from mlref.core.storage import Project, read_json, write_json
from mlref.registry.cards import cards
from tests.fakes import CONTRACT, CONTRACT_TEXT

INTERVAL = {"value": 5.0, "lower": 1.0, "upper": 9.0}
SENSITIVE = "    example: oil\n    sensitive: true\n"


def card_with(project: Project, **metrics: Any) -> str:
    """The model card after parts of metrics.json were replaced."""
    write_json(project.metrics, read_json(project.metrics) | metrics)
    return cards(project)["model-card.md"]


def test_a_slice_that_is_too_small_says_so(project: Project) -> None:
    """With its size."""
    card = card_with(project, slices={"heating = wood": {"rows": 3, "judged": False}})
    cells = " | ".join(["too few to judge"] * 3)
    assert f"| heating = wood | 3 | {cells} |" in card


def test_a_broken_promise_stands_out(project: Project) -> None:
    """A model that was forced past the gate has a card too."""
    promise = {"promise": "increasing with area", "passed": False, "broken": 4, "worst": 120.4,
               "tolerance": 0.0}  # fmt: skip
    card = card_with(project, promises=[promise | {"worst": None}, promise])
    assert "| increasing with area | **no** | 4 | not a number | 0 |" in card
    assert "| increasing with area | **no** | 4 | 120 | 0 |" in card


def test_a_contract_that_asks_for_little_is_said_to(project: Project) -> None:
    """No slice, no promise, no sensitive feature."""
    project.contract.write_text(CONTRACT_TEXT)
    card = card_with(project, slices={}, promises=[])
    for text in (
        "The contract declares no group of rows to judge by itself.", "The contract asks for none.",
        "The contract declares no sensitive feature.",
    ):  # fmt: skip
        assert text in card


@pytest.fixture
def sensitive(project: Project) -> Project:
    """A project one of whose features is sensitive."""
    text = project.contract.read_text()
    project.contract.write_text(text.replace("    example: oil\n", SENSITIVE))
    return project


def test_groups_of_a_sensitive_feature_are_compared(sensitive: Project) -> None:
    """The difference with its interval, what chance gives, and the sizes; or why there is none."""
    judged = {
        "judged": True, "groups": {"heating = gas": 12, "heating = oil": 11},
        "differences": {"rmse": INTERVAL | {"by_chance": 7.5}},
    }  # fmt: skip
    unjudged = {"judged": False, "reason": "The contract has no slice of it."}
    card = card_with(sensitive, fairness={"heating": judged, "area": unjudged})
    assert "The model is given sensitive features: Heating." in card
    assert "heating (heating = gas: 12 rows, heating = oil: 11 rows):" in card
    assert "| RMSE | 5 [1, 9] | 7.5 |" in card
    assert "area is not judged. The contract has no slice of it." in card


def test_what_each_feature_is_worth_is_shown_where_it_was_measured(project: Project) -> None:
    """Out of fold, with an interval."""
    card = card_with(project, features=dict.fromkeys(CONTRACT.names, INTERVAL))
    assert "## What each feature is worth" in card
    assert "| area | 5 [1, 9] |" in card
    with pytest.raises(MlrefError, match="metrics.json: features has no 'rooms'"):
        card_with(project, features={"area": INTERVAL})
    assert "What each feature is worth" not in card_with(project, features={})


def test_a_model_without_parameters_or_simpler_candidates_has_a_card(project: Project) -> None:
    """The mean, which the gate blocks."""
    write_json(project.tuning, read_json(project.tuning) | {"model": "mean", "parameters": {}})
    card = card_with(project, ladder={})
    assert "The model is `mean`: the simplest candidate" in card
    assert "RMSE minus that" not in card
