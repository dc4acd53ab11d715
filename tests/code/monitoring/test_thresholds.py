"""Thresholds come from simulated quiet months, and are crossed as often as was asked for."""

import contextlib

import numpy as np
import pytest
from scipy.stats import chi2_contingency, wasserstein_distance

from mlref.core.settings import Monitor
from mlref.core.storage import Project
from mlref.monitoring import thresholds
from mlref.monitoring.reference import CELLS, Distribution, Reference
from mlref.monitoring.thresholds import (
    Thresholds,
    chi_square,
    cusum,
    exceeded,
    largest_count,
    simulate,
    two_sided,
)
from mlref.monitoring.watched import watched
from mlref.prediction_log.database import Database
from tests.projects import PARAMS

SETTINGS = Monitor(**PARAMS["monitor"])


def test_the_same_seed_gives_the_same_thresholds_and_they_name_every_column(
    known: Reference,
) -> None:
    found = simulate(known, 50, SETTINGS)
    assert found == simulate(known, 50, SETTINGS)
    assert [*found] == [name for name, one in watched().items() if one.measures]
    assert found["size"].keys() == {"area", "rooms", "balcony", "prediction"}
    assert found["categories"].keys() == {"heating"} and found["loss"].keys() == {""}


def test_thresholds_narrow_with_the_rows_and_are_interpolated_between_them(
    known: Reference,
) -> None:
    ours = Thresholds(None, "", known, SETTINGS)
    at = [ours.at(rows)["size"]["area"] for rows in (3, 50, 80, 200, 5000, 10**6)]
    assert at[0] == at[1] > at[2] > at[3] > at[4] == at[5] > 0


def test_they_are_simulated_once_and_kept(
    known: Reference, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(Database.of(project)) as database:
        first = Thresholds(database, "d", known, SETTINGS).at(50)
        monkeypatch.setattr(thresholds, "simulate", lambda *_: pytest.fail("simulated again"))
        assert Thresholds(database, "d", known, SETTINGS).at(50) == first
        other = SETTINGS.model_copy(update={"alarms_a_month": 0.5})
        with pytest.raises(pytest.fail.Exception):
            Thresholds(database, "d", known, other).at(50)


def test_fewer_alarms_need_higher_thresholds(known: Reference) -> None:
    few = SETTINGS.model_copy(update={"alarms_a_month": 0.2})
    low, high = simulate(known, 50, SETTINGS), simulate(known, 50, few)
    assert all(high[name][one] >= low[name][one] for name in low for one in low[name])


def test_any_column_exceeds_its_threshold_in_the_wanted_share_of_months() -> None:
    draw = np.random.default_rng(0)
    maxima = {"a": draw.normal(size=1000), "b": draw.exponential(50, 1000), "c": draw.random(1000)}
    found = exceeded({name: values[:, None] for name, values in maxima.items()}, 0.2)
    above = np.array([maxima[name] > found[name] for name in maxima])
    assert above.any(axis=0).mean() == pytest.approx(0.2, abs=0.01)
    assert above.mean(axis=1) == pytest.approx([0.07] * 3, abs=0.02)


def test_a_cusum_adds_up_what_is_above_its_slack() -> None:
    assert cusum(np.array([0.5, 0.1, -1.0, 0.4]) - 0.2).tolist() == pytest.approx(
        [0.3, 0.2, 0, 0.2]
    )
    assert two_sided(np.array([-0.5, -0.5]), 0.2).tolist() == pytest.approx([0.3, 0.6])


def test_chi_square_is_that_of_the_contingency_table() -> None:
    after, before = np.array([30, 15, 5]), np.array([150, 180, 33])
    expected = chi2_contingency([after, before], correction=False).statistic
    assert float(chi_square(after, before)) == pytest.approx(expected)
    assert float(chi_square(np.array([5, 0]), np.array([9, 0]))) == 0


@pytest.mark.parametrize(
    ("rows", "known", "of", "least", "most"),
    [(50, 0, 363, 2, 5), (1000, 0, 363, 10, 40), (50, 36, 363, 14, 18), (0, 0, 363, 0, 0)],
)
def test_counts_allow_for_the_sampling_of_both(
    rows: int, known: float, of: int, least: int, most: int
) -> None:
    assert least <= largest_count(rows, known, of, 0.0003) <= most


def test_the_simulated_distance_is_the_wasserstein_distance() -> None:
    """The simulation computes it from shares of cells, the monitor from sorted values."""
    cells = np.sort(np.random.default_rng(1).gamma(2, 10, CELLS))
    after = np.random.default_rng(2).multinomial(50, [1 / CELLS] * CELLS) / 50
    ours = np.abs(np.cumsum(after - 1 / CELLS)[:-1]) @ np.diff(cells)
    assert ours == pytest.approx(wasserstein_distance(cells, cells, u_weights=after))


def test_a_constant_column_has_thresholds(known: Reference) -> None:
    constant = Distribution(np.full(CELLS, 7.0), 7.0, 1.0)
    found = simulate(known._replace(numbers={"area": constant}), 50, SETTINGS)
    assert found["size"]["area"] == 0 and found["slow"]["area"] == 0
