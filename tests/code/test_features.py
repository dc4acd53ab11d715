"""Preprocessing as the contract implies it."""

import numpy as np
import pytest

from mlref.core.contract import parse
from mlref.core.rows import Array, generate
from mlref.features import preprocessing
from tests.fakes import CONTRACT, CONTRACT_TEXT
from tests.projects import MANY_TEXT, NULLABLE_TEXT

NULLABLE = parse(NULLABLE_TEXT)
NAN = float("nan")
ROWS = np.array([
    # area, rooms, heating, balcony
    [50.0, 2.0, 0.0, 4.0],
    [70.0, 4.0, 1.0, NAN],
    [90.0, 6.0, 0.0, 8.0],
])  # fmt: skip


def prepared(text: str, rows: Array, scale: bool = False) -> Array:
    """Fit on rows and transform them."""
    return np.asarray(preprocessing(parse(text), scale).fit_transform(rows))


def test_numbers_are_standardised_with_scaling_and_else_stay_as_they_are() -> None:
    assert prepared(CONTRACT_TEXT, ROWS)[:, :2].tolist() == ROWS[:, :2].tolist()
    numbers = prepared(CONTRACT_TEXT, ROWS, scale=True)[:, :3]
    assert numbers.mean(axis=0) == pytest.approx([0, 0, 0])
    assert numbers.std(axis=0) == pytest.approx([1, 1, 1])


def test_a_null_number_becomes_the_training_mean() -> None:
    """The mean of the rows it was fitted on, also for rows that come later."""
    fitted = preprocessing(CONTRACT, scale=False).fit(ROWS)
    later = fitted.transform(np.array([[60.0, 3.0, 2.0, NAN]]))
    assert later[0, 2] == pytest.approx(6.0)


def test_a_column_of_nulls_only_stays_finite() -> None:
    """Small folds may hold no value of a rare column at all."""
    rows = ROWS.copy()
    rows[:, 3] = NAN
    assert np.isfinite(prepared(CONTRACT_TEXT, rows, scale=True)).all()


def test_a_category_has_one_column_for_each_allowed_value_and_first_one_for_null() -> None:
    """Also for wood, which these rows never hold."""
    assert prepared(CONTRACT_TEXT, ROWS)[:, 3:].tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    rows = ROWS.copy()
    rows[1, 2] = NAN
    nullable = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]
    assert prepared(NULLABLE_TEXT, rows)[:, 3:].tolist() == nullable


def test_a_null_is_refused_where_the_column_is_not_nullable() -> None:
    """An unknown category code never becomes a row of zeros."""
    fitted = preprocessing(CONTRACT, scale=False).fit(ROWS)
    with pytest.raises(ValueError, match="unknown categories"):
        fitted.transform(np.array([[60.0, 3.0, NAN, 4.0]]))


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("contract", [CONTRACT, NULLABLE])
def test_every_row_that_the_contract_accepts_is_finite_afterwards(
    contract: object, scale: bool
) -> None:
    rows = generate(contract, 200, seed=0)
    assert np.isfinite(preprocessing(contract, scale).fit_transform(rows)).all()


@pytest.mark.parametrize("name", ["numbers", "nullable_numbers", "verbose", "fuel__kind"])
def test_a_category_may_have_any_name(name: str) -> None:
    """Also one that scikit-learn or this module uses for a step of its own."""
    text = CONTRACT_TEXT.replace("name: heating", f"name: {name}")
    assert prepared(text, ROWS).shape == (3, 6)


def test_a_category_of_many_values_is_one_column_that_does_not_know_its_own_target() -> None:
    """On training rows the encoded noise says nothing about the noise; null is a value of its own."""
    generator, rows = np.random.default_rng(0), np.zeros((400, 4))
    rows[:, 2] = generator.integers(0, 45, 400)
    rows[:8, 2] = NAN
    noise = generator.normal(0, 1, 400)
    one = preprocessing(parse(MANY_TEXT), scale=False)
    learned = np.asarray(one.fit_transform(rows, noise))[:, -1]
    assert abs(np.corrcoef(learned, noise)[0, 1]) < 0.2
    assert np.corrcoef(one.transform(rows)[:, -1], noise)[0, 1] > 0.3
    assert np.asarray(one.transform(rows)).shape == (400, 4)
    signal = np.where(np.isnan(rows[:, 2]), 5.0, rows[:, 2] % 2)
    asked = np.array([[0, 0, NAN, 0], [0, 0, 3.0, 0], [0, 0, 4.0, 0]])
    assert one.fit(rows, signal).transform(asked)[:, -1] == pytest.approx([5, 1, 0], abs=0.1)
