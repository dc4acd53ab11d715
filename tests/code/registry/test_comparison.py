"""The comparison with the champion: on rows that neither has learned, or why there is none."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlref.bundle.store import Store
from mlref.core.contract import parse
from mlref.core.errors import BundleError
from mlref.core.settings import Split
from mlref.core.storage import Project, digest
from mlref.data.split import split
from mlref.data.tables import read_parquet
from mlref.evaluation.compare import Comparison
from mlref.registry.comparison import against, judge
from mlref.registry.gate import Incomparable
from tests.projects import PARAMS, RENTS_TEXT, crown

RENAMED = RENTS_TEXT.replace("name: area\n", "name: size\n").replace(
    "column: area,", "column: size,"
)
OTHER_TARGET = RENTS_TEXT.replace("name: rent\n", "name: price\n")
STRICTER = RENTS_TEXT.replace("valid: [0, 100]", "valid: [0, 5]")
REWORDED = RENTS_TEXT.replace("Living area", "Total area")


def model(contract: str, error: float = 0.0) -> Any:
    """A bundle of a contract that predicts by the area alone."""

    def predict(features: Any) -> Any:
        return SimpleNamespace(value=10 * features[:, 0] + error)

    return SimpleNamespace(contract=parse(contract), predict=predict)


def store_with(champion: Callable[[], Any] | None, seed: int = 4) -> Any:
    """A bundle store with this champion."""
    record = {"version": "1", "params": {"split": PARAMS["split"] | {"seed": seed}}}
    return SimpleNamespace(
        alias=lambda _: champion and "abc", open=lambda _: champion and (champion(), record)
    )


def altered() -> Any:
    """A bundle that cannot be loaded."""
    raise BundleError("model.onnx was altered")


def found(
    project: Project, champion: Callable[[], Any] | None, contract: str = RENTS_TEXT, seed: int = 4
) -> Any:
    """The comparison of a model that is off by nothing with a champion."""
    dealt = Split(**PARAMS["split"])
    return against(project, store_with(champion, seed), model(contract), dealt)


@pytest.mark.parametrize(
    ("champion", "contract", "seed", "verdict", "words"),
    [
        (altered, RENTS_TEXT, 4, "promote", "cannot be loaded, so this model replaces it: model.onnx"),
        (lambda: model(RENAMED), RENTS_TEXT, 4, "promote", "is of another contract (rents)"),
        (lambda: model(OTHER_TARGET), RENTS_TEXT, 4, "promote", "is of another contract (rents)"),
        (lambda: model(STRICTER), RENTS_TEXT, 4, "promote", "is of another contract (rents)"),
        (lambda: model(RENTS_TEXT), RENTS_TEXT, 5, "keep", "rows have been seen by neither it nor the"),
        (lambda: model(RENTS_TEXT), RENAMED, 4, "block", "It is of another contract (rents)"),
    ],
    ids=["altered", "feature", "target", "range", "learned", "challenger"],
)  # fmt: skip
def test_two_models_that_cannot_be_compared(
    trained: Project, champion: Any, contract: str, seed: int, verdict: str, words: str
) -> None:
    answer = found(trained, champion, contract, seed)
    assert isinstance(answer, Incomparable)
    assert answer.verdict == verdict and words in answer.reason


def test_without_a_champion_there_is_nothing_to_compare_with(trained: Project) -> None:
    assert found(trained, None) is None


def test_models_of_one_contract_are_compared_however_it_is_worded(trained: Project) -> None:
    answer = found(trained, lambda: model(REWORDED, 1000.0))
    assert isinstance(answer, Comparison)
    frame = read_parquet(trained.validated)
    assert answer.rows == split(parse(RENTS_TEXT), frame, Split(**PARAMS["split"])).sum()
    assert {name.partition(" ")[0] for name in answer.slices} == {"heating", "area"}
    assert np.isfinite(answer.difference["value"])


def test_the_decision_about_a_bundle_is_the_content_of_gate_json(project: Project) -> None:
    gate = judge(project, Store(project.store))
    assert set(gate) == {"verdict", "reasons", "digest", "champion", "checks"}
    assert (gate["verdict"], gate["champion"]) == ("promote", None)
    assert gate["digest"] == digest(project.bundle / "MANIFEST.json")
    assert set(gate["checks"][0]) == {"name", "passed", "verdict", "reason", "figures"}
    name = crown(project)
    assert judge(project, Store(project.store))["champion"] == name
