"""Jittered copies stay possible rows, and their effect is measured on rows that they do not know."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from examples import augmentation
from examples.augmentation import effect, jitter, verdict
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from mlref.core import settings
from mlref.core.contract import Contract, parse
from mlref.core.errors import MlrefError
from mlref.core.rows import generate
from mlref.core.storage import Project
from mlref.training.nested import deal
from tests.fakes import CONTRACT, CONTRACT_TEXT
from tests.projects import PARAMS, RENTS_TEXT

ERRORS = {"example: 70.5": 20, "example: 3\n": 2, "example: 4\n": 30}
"""Of area, rooms and balcony; large beside what is valid, so that the bounds matter."""


def with_errors(text: str) -> str:
    """A contract whose three numbers declare an error."""
    for example, error in ERRORS.items():
        text = text.replace(example, f"{example.strip()}\n    error: {error}\n")
    return text


JITTERED = parse(with_errors(CONTRACT_TEXT))
TUNE = settings.Tune(**PARAMS["tune"] | {"candidates": {"mean": {}}})
BOOTSTRAP = settings.Bootstrap(seed=1, resamples=200, confidence=0.95)


def test_jittered_rows_are_rows_that_the_contract_accepts() -> None:
    """Inside `valid`, whole where they must be; nulls and columns without an error stay."""
    rows = generate(JITTERED, 2000, seed=0)
    before = rows.copy()
    jittered = jitter(JITTERED, rows, np.random.default_rng(0))
    np.testing.assert_array_equal(rows, before)
    np.testing.assert_array_equal(jitter(CONTRACT, rows, np.random.default_rng(0)), before)
    area, rooms, heating, balcony = jittered.T
    assert area.min() == 5 and area.max() == 1000
    assert set(rooms) == set(range(1, 21))
    np.testing.assert_array_equal(heating, rows[:, 2])
    np.testing.assert_array_equal(np.isnan(balcony), np.isnan(rows[:, 3]))
    assert np.nanmin(balcony) == 0 and np.nanmax(balcony) == 100


def test_the_jitter_has_the_declared_size_and_no_direction() -> None:
    """A normal error with the column's standard deviation."""
    rows = np.tile([500.0, 10.0, 0.0, 50.0], (5000, 1))
    moved = jitter(JITTERED, rows, np.random.default_rng(0)) - rows
    assert moved[:, 0].mean() == pytest.approx(0, abs=1)
    assert moved[:, 0].std() == pytest.approx(20, rel=0.05)
    assert moved[:, 1].std() == pytest.approx(2, rel=0.05)


class Recorder(LinearRegression):
    """A model that keeps what it was fitted and asked on."""

    seen: list[tuple[Any, Any, Any]] = []

    def fit(self, X: Any, y: Any) -> Any:
        """Keep the rows and fit."""
        self.known = (X, y)
        return super().fit(X, y)

    def predict(self, X: Any) -> Any:
        """Keep the rows that are asked, with those that are known."""
        self.seen.append((*self.known, X))
        return super().predict(X)


def test_only_the_training_part_of_a_fold_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """No copy of a test row is learned, and test rows are as they were measured."""
    monkeypatch.setattr(Recorder, "seen", [])
    rows = generate(CONTRACT, 60, seed=0)
    rows[:, 3] = np.arange(60.0)  # no error here: it names the row in each copy
    target = rows[:, 0].copy()
    contract = parse(CONTRACT_TEXT.replace("example: 70.5", "example: 70.5\n    error: 20"))
    effect(contract, Recorder, rows, target, 4, folds(contract, rows), BOOTSTRAP)
    assert len(Recorder.seen) == 2 * TUNE.folds * TUNE.repeats
    for index, (known, answers, asked) in enumerate(Recorder.seen):
        copies = 5 if index % 2 == 0 else 1
        assert len(known) == 40 * copies
        assert not set(known[:, 3]) & set(asked[:, 3])
        np.testing.assert_array_equal(known[:40], rows[known[:40, 3].astype(int)])
        np.testing.assert_array_equal(asked, rows[asked[:, 3].astype(int)])
        np.testing.assert_array_equal(answers, target[known[:, 3].astype(int)])


def folds(contract: Contract, rows: Any) -> Any:
    """The rows in folds, as the example deals them."""
    return deal(TUNE, contract, pd.DataFrame(rows, columns=contract.names))


def straight(rows: int) -> tuple[Any, Any]:
    """Rows whose target follows the area alone, with noise."""
    features = generate(CONTRACT, rows, seed=0)[:, :1]
    return features, features[:, 0] + np.random.default_rng(0).normal(0, 300, rows)


def with_error(size: float) -> Any:
    """A contract with the area alone, and an error of it."""
    area = CONTRACT.features[0].model_copy(update={"error": size})
    return CONTRACT.model_copy(update={"features": (area,)})


def effect_of(error: float, make: Any, rows: int, copies: int) -> Any:
    """The effect of copies with an error of the area on a straight line."""
    contract, (features, target) = with_error(error), straight(rows)
    dealt = folds(contract, features)
    return effect(contract, make, features, target, copies, dealt, BOOTSTRAP)


def test_a_curve_that_follows_the_noise_is_helped() -> None:
    """Among jittered copies it can no longer run through every row."""

    def curve() -> Any:
        return make_pipeline(StandardScaler(), PolynomialFeatures(9), LinearRegression())

    found, plain = effect_of(60, curve, 60, 20)
    assert found["upper"] < 0
    assert verdict(found, plain, 2).startswith("Augmentation helps: the score ")


def test_an_error_that_drowns_the_column_makes_a_model_worse() -> None:
    """It learns that the column says little, but in the rows to predict the column is good."""
    found, plain = effect_of(900, LinearRegression, 150, 5)
    assert found["lower"] > 0
    assert verdict(found, plain, 2).startswith("Augmentation makes the model worse: the score ")


def test_no_copies_make_no_difference() -> None:
    """The two models of a pair differ by the copies alone."""
    found, plain = effect_of(60, LinearRegression, 60, 0)
    assert found == {"value": 0, "lower": 0, "upper": 0}
    assert verdict(found, plain, 2).startswith("Augmentation does not help")


def test_the_effect_is_measured_on_the_training_rows_and_changes_nothing(project: Project) -> None:
    """The same words each time; a contract without errors has nothing to jitter."""
    with pytest.raises(MlrefError, match=r"No feature .* declares an `error`"):
        augmentation.run(project)
    project.contract.write_text(with_errors(RENTS_TEXT))
    before = {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()}
    said = augmentation.run(project, copies=2)
    assert said.startswith("elastic_net on 90 training rows; copies of each: 2, jittered in area, ")
    assert said.splitlines()[1].startswith("Augmentation ")
    assert augmentation.run(project, copies=2) == said
    assert {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()} == before
