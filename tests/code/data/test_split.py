"""Held-out rows share nothing with the rows to train on."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlref.core import settings
from mlref.core.contract import parse
from mlref.core.errors import DataError
from mlref.core.storage import Project, read_json
from mlref.data.split import profile, split
from tests.code.data.conftest import LINES, contents, csv, run_all
from tests.fakes import CONTRACT, CONTRACT_TEXT
from tests.projects import run_data, write_project

KNOBS = settings.Split(seed=1, holdout=0.25)


def homes(areas: list[float], rents: list[float]) -> pd.DataFrame:
    """A frame in which only area and rent differ."""
    return pd.DataFrame({
        "area": areas, "rooms": 2.0, "heating": "gas", "balcony": np.nan, "rent": rents
    })  # fmt: skip


TABLES = st.lists(
    st.tuples(st.integers(5, 60), st.integers(0, 20000)), min_size=12, max_size=60
).filter(lambda rows: len({area for area, _ in rows}) > 8)


@given(TABLES, st.integers(0, 2**32 - 1))
def test_equal_rows_stay_on_one_side(rows: list[tuple[int, int]], seed: int) -> None:
    """The sides are disjoint also by value, whatever their targets."""
    frame = homes(*map(list, zip(*rows, strict=True)))
    held_out = split(CONTRACT, frame, settings.Split(seed=seed, holdout=0.4))
    assert held_out.shape == (len(frame),)
    assert not set(frame["area"][held_out]) & set(frame["area"][~held_out])


@given(TABLES, st.integers(0, 2**32 - 1), st.data())
def test_a_row_keeps_its_side_whatever_rows_arrive_or_leave(
    rows: list[tuple[int, int]], seed: int, data: st.DataObject
) -> None:
    """So no later model is judged on what an earlier one has learned; order does not matter either."""
    frame = homes(*map(list, zip(*rows, strict=True)))
    knobs = settings.Split(seed=seed, holdout=0.4)
    some = data.draw(st.lists(st.sampled_from(range(len(frame))), min_size=1, unique=True))
    assert (
        split(CONTRACT, frame.iloc[some], knobs).tolist()
        == split(CONTRACT, frame, knobs)[some].tolist()
    )


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.2, 0.25, 0.5]))
def test_the_share_is_held_out_whatever_the_target(seed: int, share: float) -> None:
    """Within five standard errors of a binomial, in the lower half of the target and in the upper."""
    frame = homes(np.arange(400.0).tolist(), np.arange(400.0).tolist())
    held_out = split(CONTRACT, frame, settings.Split(seed=seed, holdout=share))
    for half in (held_out[:200], held_out[200:]):
        assert abs(half.mean() - share) < 5 * (share * (1 - share) / 200) ** 0.5


def test_the_seed_decides() -> None:
    """The same one gives the same rows, another gives others."""
    frame = homes(np.arange(80.0).tolist(), np.arange(80.0).tolist())
    first, again = split(CONTRACT, frame, KNOBS), split(CONTRACT, frame, KNOBS)
    other = split(CONTRACT, frame, KNOBS.model_copy(update={"seed": 2}))
    assert first.tolist() == again.tolist() != other.tolist()


def test_the_identity_of_the_contract_decides_what_stays_together() -> None:
    """Two visits to the same flat, although no feature of them is equal."""
    contract = parse(CONTRACT_TEXT + "identity: [flat]\n")
    frame = homes(np.arange(80.0).tolist(), np.arange(80.0).tolist())
    frame = frame.assign(flat=[f"{row // 2}" for row in range(80)])
    held_out = split(contract, frame, KNOBS)
    assert (held_out[::2] == held_out[1::2]).all()
    assert 0 < held_out.sum() < 80


@pytest.mark.parametrize("areas", [[50.0], [50.0] * 30])
def test_too_few_different_rows_are_refused(areas: list[float], tmp_path: Path) -> None:
    """Their number is told; repeated rows count once."""
    project = write_project(tmp_path, frame=homes(areas, [float(row) for row in range(len(areas))]))
    with pytest.raises(DataError, match="1 different rows are too few to split"):
        run_data(project)


def test_too_few_rows_leave_the_earlier_split_as_it_was(judged: Project) -> None:
    """The stage writes nothing."""
    before = contents(judged)
    (judged.root / "data" / "source" / "rents.csv").write_bytes(csv(LINES[0]))
    with pytest.raises(DataError, match="too few"):
        run_all(judged)
    after = contents(judged)
    for name in ("train", "holdout", "profile"):
        assert after[name] == before[name]


def test_the_stage_divides_the_validated_rows(judged: Project) -> None:
    """All of them, once, with their types; the profile is of the training rows alone."""
    train, holdout = pd.read_parquet(judged.train), pd.read_parquet(judged.holdout)
    both = pd.concat([train, holdout]).sort_values("area", ignore_index=True)
    validated = pd.read_parquet(judged.validated).sort_values("area", ignore_index=True)
    pd.testing.assert_frame_equal(both, validated)
    measured = read_json(judged.profile)
    assert measured["rows"] == len(train)
    assert measured["columns"]["area"]["quantiles"]["1.0"] == train["area"].max()


FEATURES = np.array([[10.0, 1, 0, np.nan], [20.0, 1, 0, 5], [30.0, 3, 2, np.nan], [40.0, 3, 0, 7]])
TARGET = np.array([100.0, 200, 300, 400])


def test_the_profile_of_a_number_is_its_quantiles_mean_and_deviation() -> None:
    """Of the rows where it is known; the deviation is the population's."""
    measured = profile(CONTRACT, FEATURES, TARGET)["columns"]
    area = measured["area"]
    assert (area["null_share"], area["mean"]) == (0, 25)
    assert area["std"] == pytest.approx(125**0.5)
    wanted = {"0.0": 10, "0.25": 17.5, "0.5": 25, "0.75": 32.5, "1.0": 40}
    assert {key: area["quantiles"][key] for key in wanted} == wanted
    assert measured["balcony"]["null_share"] == 0.5
    assert measured["balcony"]["mean"] == 6
    assert measured["rent"]["mean"] == 250


def test_the_profile_of_a_category_is_the_share_of_each_value() -> None:
    """Also of a value that does not occur."""
    heating = profile(CONTRACT, FEATURES, TARGET)["columns"]["heating"]
    assert heating == {"null_share": 0, "shares": {"gas": 0.75, "oil": 0, "wood": 0.25}}


def test_a_column_of_nulls_has_a_profile_without_figures() -> None:
    """And no warning about an empty mean."""
    features = FEATURES.copy()
    features[:, 3] = np.nan
    assert profile(CONTRACT, features, TARGET)["columns"]["balcony"] == {"null_share": 1}


def test_a_category_that_is_null_everywhere_has_shares_of_zero() -> None:
    """Division by nothing is avoided."""
    heating = CONTRACT.features[2].model_copy(update={"nullable": True})
    contract = CONTRACT.model_copy(update={"features": (heating,)})
    measured = profile(contract, np.full((2, 1), np.nan), TARGET[:2])["columns"]["heating"]
    assert measured == {"null_share": 1, "shares": {"gas": 0, "oil": 0, "wood": 0}}


def test_the_profile_identifies_the_rows() -> None:
    """The same rows have the same digest, changed ones another."""
    first, again = (profile(CONTRACT, FEATURES.copy(), TARGET)["data"] for _ in range(2))
    assert first == again != profile(CONTRACT, FEATURES, TARGET + 1)["data"]
