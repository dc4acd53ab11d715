"""Folds keep together what belongs together, and by time nobody learns from the future."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.stats import sem
from sklearn.model_selection import KFold

from mlref.core.contract import Contract, parse
from mlref.core.errors import DataError
from mlref.data.folds import deal
from mlref.data.tables import encode
from mlref.training import out_of_fold
from mlref.training.candidates import build
from tests.code.data.test_split import homes
from tests.fakes import CONTRACT, CONTRACT_TEXT

FEW = hypothesis_settings(max_examples=20)


def by(kind: str, column: str, more: str = "") -> Contract:
    """The contract of rents, split by a column."""
    return parse(CONTRACT_TEXT + f"split: {{by: {kind}, column: {column}}}\n{more}")


def table(**columns: Any) -> pd.DataFrame:
    """Homes of different areas with columns beside them."""
    length = len(next(iter(columns.values())))
    return homes(np.arange(length) + 5.0).assign(**columns)


@FEW
@given(st.integers(12, 60), st.integers(2, 6), st.integers(0, 99))
def test_rows_of_their_own_are_dealt_as_scikit_learn_deals_them(
    rows: int, count: int, seed: int
) -> None:
    frame = table(rent=np.arange(rows))
    ours = deal(CONTRACT, frame, count, seed).pairs()
    theirs = KFold(count, shuffle=True, random_state=seed).split(frame)
    for pair, other in zip(ours, theirs, strict=True):
        assert all(np.array_equal(one, two) for one, two in zip(pair, other, strict=True))


@FEW
@given(st.lists(st.integers(0, 8), min_size=20, max_size=60), st.integers(0, 99))
def test_copies_and_groups_are_in_one_fold_and_every_row_is_left_out_once(
    units: list[int], seed: int
) -> None:
    units = [*units, *range(9)]
    copies = deal(CONTRACT, homes([5.0 + unit for unit in units]), 3, seed)
    groups = deal(by("group", "house"), table(house=[f"h{unit}" for unit in units]), 3, seed)
    assert copies.of_row.tolist() == groups.of_row.tolist()
    for folds in (copies, groups):
        assert pd.Series(folds.of_row).groupby(units).nunique().max() == 1
        left_out = np.concatenate([unseen for _, unseen in folds.pairs()])
        assert sorted(left_out) == list(range(len(units)))
        for seen, unseen in folds.pairs(share=0.5, seed=seed):
            assert not {units[row] for row in seen} & {units[row] for row in unseen}


@FEW
@given(st.lists(st.integers(0, 9), min_size=30, max_size=60), st.integers(0, 99))
def test_by_time_folds_go_forward_in_whole_moments(days: list[int], seed: int) -> None:
    """Unsorted, and with days of many rows; half of the past is its latest half."""
    days = [*days, *(10 + row // 2 for row in range(60))]
    order = np.random.default_rng(seed).permutation(len(days))
    moments = np.array(days)[order]
    frame = table(day=(pd.Timestamp("2026-01-01") + pd.to_timedelta(moments, "D")).astype(str))
    folds = deal(by("time", "day"), frame, 3, seed)
    for seen, unseen in folds.pairs():
        assert moments[seen].max() < moments[unseen].min()
    for (seen, _), (latest, _) in zip(folds.pairs(), folds.pairs(share=0.5), strict=True):
        assert set(latest) <= set(seen)
        older = moments[seen][~np.isin(seen, latest)]
        assert not len(older) or older.max() < moments[latest].min()
    assert (folds.of_row == -1).any()


@pytest.mark.parametrize(
    ("contract", "column", "values", "said"),
    [
        (
            by("group", "house"),
            "house",
            ["a"] * 30,
            "1 different values of 'house' are too few for 3",
        ),
        (by("time", "day"), "day", ["2026-01-01"] * 30, "1 different values of 'day' are too few"),
        (by("time", "day"), "day", [1, 2, 3] * 10, "3 different values of 'day' are too few"),
        (CONTRACT, "area", [50.0] * 30, "1 different rows are too few for 3 folds"),
    ],
)
def test_too_few_groups_or_times_are_refused(
    contract: Contract, column: str, values: list[Any], said: str
) -> None:
    with pytest.raises(DataError, match=f"{said}.*(?s:.*)Ask for fewer folds"):
        deal(contract, table(**{column: values}), 3, seed=0)


def test_rows_of_one_identity_in_two_groups_are_refused() -> None:
    contract = by("group", "clinic", "identity: [flat]\n")
    frame = table(flat=[1, 1, 2, 3], clinic=["a", "b", "b", "b"])
    with pytest.raises(DataError, match="rows of one identity are in two groups of 'clinic'"):
        deal(contract, frame, 2, seed=0)


def flats(seed: int) -> pd.DataFrame:
    """90 houses with 5 flats each; a house has a level of its own, which its area gives away."""
    generator = np.random.default_rng(seed)
    area, level = generator.uniform(50, 300, 90), generator.normal(2000, 300, 90)
    return pd.DataFrame({
        "area": np.repeat(area, 5), "rooms": generator.integers(1, 9, 450), "heating": "gas",
        "balcony": 1.0, "house": np.repeat([f"h{number}" for number in range(90)], 5),
        "rent": np.repeat(level, 5) + generator.normal(0, 60, 450),
    })  # fmt: skip


def test_rows_of_known_groups_do_not_flatter_the_error_out_of_fold() -> None:
    """By groups it is within chance of the error on 90 new houses; by rows it is less than half of that.

    Trees recognise a house that they have seen.
    """
    contract, known = by("group", "house"), flats(seed=1)
    (features, target), (rows, actual) = encode(contract, known), encode(contract, flats(seed=2))
    model = build(contract, "random_forest", {"n_estimators": 10}, 0)
    found = {"new": (model.fit(features, target).predict(rows) - actual) ** 2}
    for name, of in (("rows", CONTRACT), ("groups", contract)):
        predicted = out_of_fold.predict(model, features, target, deal(of, known, 5, seed=0).pairs())
        found[name] = (predicted - target) ** 2
    losses = {name: loss.reshape(90, 5).mean(axis=1) for name, loss in found.items()}
    mean, error = ({n: f(loss) for n, loss in losses.items()} for f in (np.mean, sem))
    assert abs(mean["groups"] - mean["new"]) < 2 * np.hypot(error["groups"], error["new"])
    assert mean["rows"] ** 0.5 < mean["new"] ** 0.5 / 2
