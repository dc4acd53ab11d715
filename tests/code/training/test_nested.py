"""Nested cross-validation of a candidate."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV, KFold, PredefinedSplit, cross_val_predict

from mlref.core.contract import Contract, parse
from mlref.core.rows import Array, generate
from mlref.core.settings import Tune
from mlref.data.folds import Folds
from mlref.training import nested
from mlref.training.candidates import build
from mlref.training.nested import Data, Found, Result, fit, gather, nest, parts
from tests.fakes import CONTRACT, CONTRACT_TEXT, linear
from tests.projects import PARAMS

ROWS = generate(CONTRACT, 40, seed=3)
TARGET = linear(ROWS) + np.random.default_rng(5).normal(0, 4000, 40)
FRAME = pd.DataFrame(ROWS, columns=CONTRACT.names).assign(day=np.arange(40)[::-1])
BY_DAY = parse(CONTRACT_TEXT + "split: {by: time, column: day}\n")
ALPHAS = [0.01, 1.0, 10.0, 100.0]
RIDGES = [{"alpha": alpha} for alpha in ALPHAS]


def settings(**changed: Any) -> Tune:
    """Small settings of the stage."""
    return Tune(**PARAMS["tune"] | {"folds": 4} | changed)


def dealt(contract: Contract = CONTRACT, **changed: Any) -> list[Folds]:
    """The rows of this file in folds."""
    return nested.deal(settings(**changed), contract, FRAME)


def fold_of(**changed: Any) -> list[Array]:
    """The fold of each row, by round."""
    return [folds.of_row for folds in dealt(**changed)]


def scores(
    name: str, tried: list[Any], target: Array = TARGET, contract: Contract = CONTRACT,
    **changed: Any,
) -> Found:  # fmt: skip
    """All fits of a candidate on the rows of this file."""
    folds = dealt(contract, **changed)
    work = parts(settings(**changed), folds, len(tried) > 1)
    data = Data(contract, ROWS, target, folds, seed=0)
    return gather(work, [fit(name, tried, part, data) for part in work], folds)


def quoted(
    name: str, tried: list[Any], target: Array = TARGET, contract: Contract = CONTRACT,
    **changed: Any,
) -> Result:  # fmt: skip
    """A candidate as it is quoted."""
    found = scores(name, tried, target, contract, **changed)
    return nest(tried, *found, dealt(contract, **changed))


def test_a_single_setting_is_predicted_as_scikit_learn_would() -> None:
    """Preprocessing fitted without the fold too; averaged over the rounds."""
    found = quoted("ridge", RIDGES[:1])
    expected = [
        cross_val_predict(
            build(CONTRACT, "ridge", RIDGES[0], 0), ROWS, TARGET,
            cv=KFold(4, shuffle=True, random_state=seed),
        )
        for seed in (1, 2)
    ]  # fmt: skip
    assert found.predictions == pytest.approx(np.mean(expected, axis=0), rel=1e-9)
    assert found.errors.shape == (2, 4)


def test_a_choice_is_nested_as_a_search_within_each_fold_would() -> None:
    """scikit-learn's grid search on the rows of the other folds, with these as its folds."""
    tried = [{"alpha": alpha} for alpha in (0.01, 3.0, 10.0, 30.0)]
    found, folds = quoted("ridge", tried, repeats=1), fold_of(repeats=1)
    predicted = np.zeros((1, 40))
    for repeat, fold in enumerate(folds):
        for k in range(4):
            seen = fold != k
            inner = GridSearchCV(
                build(CONTRACT, "ridge", {}, 0),
                {"estimate__alpha": [setting["alpha"] for setting in tried]},
                scoring="neg_root_mean_squared_error",
                cv=PredefinedSplit(fold[seen]),
            ).fit(ROWS[seen], TARGET[seen])
            predicted[repeat, ~seen] = inner.predict(ROWS[~seen])
            assert found.chosen[repeat, k] == inner.best_index_
    assert len(np.unique(found.chosen)) > 1
    assert found.predictions == pytest.approx(predicted.mean(axis=0), rel=1e-9)


def test_the_values_of_a_fold_have_no_say_in_its_own_setting() -> None:
    """They have in that of the others; chosen by the plain errors, they would have in both."""
    fold = 3
    held = fold_of(repeats=1)[0] == fold
    target = np.where(held, 1e6 * np.arange(40) ** 2, TARGET)
    before, after = (quoted("ridge", RIDGES, given, repeats=1) for given in (TARGET, target))
    assert after.chosen[0, fold] == before.chosen[0, fold]
    assert after.predictions[held].tolist() == before.predictions[held].tolist()
    assert after.predictions[~held].tolist() != before.predictions[~held].tolist()


def test_a_pair_of_folds_is_scored_on_each_of_them() -> None:
    """With models that have seen neither: their mean is of the other two folds."""
    target = fold_of(repeats=1)[0] * 10.0
    errors = scores("mean", [{}, {}], target, repeats=1)[0][0, 0]
    values = np.arange(4) * 10.0
    for k in range(4):
        for j in range(4):
            mean = np.delete(values, [k, j]).mean()
            assert errors[k, j] == pytest.approx(abs(values[k] - mean))


def test_a_draw_goes_to_the_first_setting_and_plain_errors_are_of_single_folds() -> None:
    """Neither nested nor mixed with those of pairs."""
    assert quoted("mean", [{}, {}, {}]).chosen.tolist() == [[0] * 4] * 2
    alone = [quoted("ridge", [setting], repeats=1).errors for setting in RIDGES[:2]]
    assert quoted("ridge", RIDGES[:2], repeats=1).plain == pytest.approx(np.array(alone), rel=1e-9)


def test_by_time_a_fold_is_predicted_from_the_rows_before_it_alone() -> None:
    """Whatever comes later changes neither its model nor its setting; the first two parts are not scored."""
    (folds,) = dealt(BY_DAY)
    assert folds.of_row.tolist() == np.repeat([3, 2, 1, 0, -1], 8).tolist()
    later = folds.of_row > 2
    before = quoted("ridge", RIDGES, contract=BY_DAY)
    after = quoted("ridge", RIDGES, np.where(later, 1e6, TARGET), BY_DAY)
    assert (before.errors.shape, before.plain.shape) == ((1, 3), (4, 1, 4))
    assert np.isnan(before.predictions).tolist() == (folds.of_row < 1).tolist()
    assert after.predictions[~later & (folds.of_row > 0)] == pytest.approx(
        before.predictions[~later & (folds.of_row > 0)]
    )
    assert after.chosen.tolist() == before.chosen.tolist()
    early = folds.of_row == -1
    moved = quoted("ridge", RIDGES, np.where(early, TARGET + 1e4, TARGET), BY_DAY)
    assert (moved.errors != before.errors).all()


def test_by_time_the_setting_of_a_fold_is_the_best_of_the_folds_before_it() -> None:
    found = quoted("ridge", RIDGES, contract=BY_DAY)
    best = [found.plain[:, 0, :fold].sum(axis=1).argmin() for fold in (1, 2, 3)]
    assert found.chosen.tolist() == [best]
