"""Which settings of a candidate are tried."""

from typing import Any

import numpy as np
import pytest

from mlref.core.settings import Range, Space, Tune
from mlref.training.sampling import Setting, grid, search, steps
from tests.projects import PARAMS

SPACE: Space = {
    "alpha": Range(low=0.01, high=1, log=True, steps=3),
    "depth": Range(low=2, high=5, integer=True),
    "rule": ["a", "b"],
}
LISTS: Space = {"l1_ratio": [0, 1], "alpha": [3, 1]}


def settings(**changed: Any) -> Tune:
    """Small settings of the stage."""
    return Tune(**PARAMS["tune"] | {"trials": 12} | changed)


def tried(space: Space, sign: int = 1, **changed: Any) -> list[Setting]:
    """The settings that are measured; the error of each is its `alpha`, or minus that."""
    found: list[Setting] = []

    def measure(batch: list[Setting]) -> list[float]:
        found.extend(batch)
        return [sign * float(setting["alpha"]) for setting in batch]

    search(space, settings(**changed), measure)
    return found


@pytest.mark.parametrize(
    ("space", "values"),
    [
        (Range(low=0, high=1, steps=5), [0.0, 0.25, 0.5, 0.75, 1.0]),
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
def test_lists_alone_are_a_grid_and_every_setting_lies_in_its_space(sampler: str) -> None:
    """Drawing from four settings twelve times would fit some of them thrice."""
    assert tried(LISTS, sampler=sampler) == grid(LISTS)
    found = tried(SPACE, sampler=sampler)
    assert len(found) == (3 * 4 * 2 if sampler == "grid" else 12)
    for setting in found:
        assert list(setting) == ["alpha", "depth", "rule"]
        assert 0.01 <= setting["alpha"] <= 1
        assert setting["depth"] in (2, 3, 4, 5) and isinstance(setting["depth"], int)
        assert setting["rule"] in ("a", "b")


def test_a_quasi_random_setting_depends_on_the_seed_and_its_number_alone() -> None:
    """They fill a range evenly, on the logarithmic scale where that is asked."""
    space: Space = {"alpha": Range(low=0.01, high=100, log=True)}
    many = tried(space, sampler="quasi_random", trials=40)
    assert many[:5] == tried(space, -1, sampler="quasi_random", trials=5)
    assert many[:5] != tried(space, sampler="quasi_random", trials=5, seed=2)
    counts, _ = np.histogram([np.log10(setting["alpha"]) for setting in many], [-2, -1, 0, 1, 2])
    assert all(8 <= count <= 12 for count in counts)


def test_tpe_follows_the_errors_that_it_is_told() -> None:
    """After ten settings by lot, it looks where the error, here alpha itself, is low."""
    space: Space = {"alpha": Range(low=0, high=1)}
    low, high, again = (
        [setting["alpha"] for setting in tried(space, sign, sampler="tpe", trials=25)]
        for sign in (1, -1, 1)
    )
    assert low[:10] == high[:10]
    assert sum(low[10:]) < 0.7 * sum(high[10:])
    assert low == again
