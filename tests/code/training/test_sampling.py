"""Which settings of a candidate are tried."""

from typing import Any

import pytest

from mlref.core.settings import Range, Space, Tune
from mlref.training.sampling import Setting, count, grid, search, steps

SPACE: Space = {
    "alpha": Range(low=0.01, high=1, log=True, steps=3),
    "depth": Range(low=2, high=5, integer=True),
    "rule": ["a", "b"],
}
LISTS: Space = {"l1_ratio": [0, 1], "alpha": [3, 1]}


def settings(**changed: Any) -> Tune:
    """Small settings of the stage."""
    small = {"seed": 1, "folds": 3, "repeats": 1, "sampler": "grid", "trials": 12}
    return Tune(**small | changed, candidates={"mean": {}})


def tried(space: Space, sign: int = 1, **changed: Any) -> list[list[Setting]]:
    """Batches in which settings are measured; the error of each is its `alpha`, or minus that."""
    batches: list[list[Setting]] = []

    def measure(batch: list[Setting]) -> list[float]:
        batches.append(batch)
        return [sign * float(setting["alpha"]) for setting in batch]

    search(space, settings(**changed), measure)
    return batches


@pytest.mark.parametrize(
    ("space", "values"),
    [
        (Range(low=0, high=1, steps=5), [0.0, 0.25, 0.5, 0.75, 1.0]),
        (Range(low=0, high=1, steps=2), [0.0, 1.0]),
        (Range(low=1, high=100, log=True, steps=5), [1.0, 3.16, 10.0, 31.6, 100.0]),
        (Range(low=0.12345, high=0.98765, steps=3), [0.12345, 0.556, 0.98765]),
        (Range(low=1, high=100, log=True, integer=True, steps=3), [1, 10, 100]),
        (Range(low=1, high=3, integer=True, steps=9), [1, 2, 3]),
    ],
    ids=str,
)
def test_a_grid_takes_both_ends_of_a_range_and_steps_between(
    space: Range, values: list[float]
) -> None:
    """The ends as they are written, the rest as short as three digits, whole numbers once each."""
    assert steps(space) == values
    assert [type(value) for value in steps(space)] == [type(value) for value in values]


def test_a_grid_is_in_the_order_of_the_file() -> None:
    """The last parameter by name turns fastest; a candidate without parameters is one setting."""
    assert grid(LISTS) == [
        {"alpha": 3, "l1_ratio": 0},
        {"alpha": 3, "l1_ratio": 1},
        {"alpha": 1, "l1_ratio": 0},
        {"alpha": 1, "l1_ratio": 1},
    ]
    assert grid({}) == [{}]


@pytest.mark.parametrize("sampler", ["grid", "quasi_random", "tpe"])
def test_lists_alone_are_a_grid_whatever_the_sampler(sampler: str) -> None:
    """Drawing from four settings twelve times would fit some of them thrice."""
    assert tried(LISTS, sampler=sampler) == [grid(LISTS)]
    assert count(LISTS, settings(sampler=sampler)) == 4


@pytest.mark.parametrize(
    ("sampler", "batches"), [("grid", [3 * 4 * 2]), ("quasi_random", [12]), ("tpe", [1] * 12)]
)
def test_only_tpe_waits_for_errors_and_every_setting_lies_in_its_space(
    sampler: str, batches: list[int]
) -> None:
    found = tried(SPACE, sampler=sampler)
    assert [len(batch) for batch in found] == batches
    assert count(SPACE, settings(sampler=sampler)) == sum(batches)
    for setting in sum(found, []):
        assert list(setting) == ["alpha", "depth", "rule"]
        assert 0.01 <= setting["alpha"] <= 1
        assert setting["depth"] in (2, 3, 4, 5) and isinstance(setting["depth"], int)
        assert setting["rule"] in ("a", "b")


def test_a_quasi_random_setting_depends_on_the_seed_and_its_number_alone() -> None:
    """More trials leave the first ones as they were; another seed gives others."""
    (twelve,) = tried(SPACE, sampler="quasi_random")
    (five,) = tried(SPACE, sampler="quasi_random", trials=5)
    (other,) = tried(SPACE, sampler="quasi_random", trials=5, seed=2)
    assert twelve[:5] == five
    assert not any(setting in five for setting in other)


def test_quasi_random_settings_fill_the_range_evenly() -> None:
    """On the logarithmic scale where that is asked: each quarter of it gets its share."""
    (drawn,) = tried(
        {"alpha": Range(low=0.01, high=100, log=True)}, sampler="quasi_random", trials=40
    )
    edges = [0.01, 0.1, 1, 10, 100]
    for low, high in zip(edges, edges[1:]):
        assert 8 <= sum(low <= setting["alpha"] < high for setting in drawn) <= 12


def test_tpe_follows_the_errors_that_it_is_told() -> None:
    """After ten settings by lot, it looks where the error, here alpha itself, is low."""
    space: Space = {"alpha": Range(low=0, high=1)}
    low, high, again = (
        [setting["alpha"] for (setting,) in tried(space, sign, sampler="tpe", trials=40)]
        for sign in (1, -1, 1)
    )
    assert low[:10] == high[:10]
    assert sum(low[10:]) < 0.7 * sum(high[10:])
    assert low == again
