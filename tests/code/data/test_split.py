"""The test set shares nothing with the rows to train on."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mlref.core.contract import parse
from mlref.core.errors import DataError
from mlref.core.settings import Split
from mlref.core.storage import Project, read_json
from mlref.data.split import profile, split
from tests.code.data.conftest import LINES, contents, csv, run_all, source
from tests.fakes import CONTRACT, CONTRACT_TEXT
from tests.projects import run_data, write_project

FEW = hypothesis_settings(max_examples=20)


def homes(areas: list[float], rents: list[float] | None = None) -> pd.DataFrame:
    """A frame in which only area and rent differ."""
    return pd.DataFrame({
        "area": areas, "rooms": 2.0, "heating": "gas", "balcony": np.nan,
        "rent": areas if rents is None else rents,
    })  # fmt: skip


EIGHTY = homes(np.arange(80.0).tolist())
TABLES = st.lists(
    st.tuples(st.integers(5, 60), st.integers(0, 20000)), min_size=12, max_size=60
).filter(lambda rows: len({area for area, _ in rows}) > 8)
SEEDS = st.integers(0, 2**32 - 1)


@FEW
@given(TABLES, SEEDS, st.data())
def test_a_row_and_its_copies_keep_their_side_whatever_rows_arrive_or_leave(
    rows: list[tuple[int, int]], seed: int, data: st.DataObject
) -> None:
    """Whatever their targets and their order: no later model is tested on what an earlier one learned."""
    frame, settings = homes(*map(list, zip(*rows, strict=True))), Split(seed=seed, holdout=0.4)
    tested = split(CONTRACT, frame, settings)
    assert tested.shape == (len(frame),)
    assert not set(frame["area"][tested]) & set(frame["area"][~tested])
    some = data.draw(st.lists(st.sampled_from(range(len(frame))), min_size=1, unique=True))
    assert split(CONTRACT, frame.iloc[some], settings).tolist() == tested[some].tolist()


@FEW
@given(SEEDS, st.sampled_from([0.1, 0.2, 0.25, 0.5]))
def test_the_test_set_has_its_share_whatever_the_target(seed: int, share: float) -> None:
    """Within five standard errors of a binomial, in both halves of the target; another seed differs."""
    tested = split(CONTRACT, homes(np.arange(400.0).tolist()), Split(seed=seed, holdout=share))
    other = split(CONTRACT, homes(np.arange(400.0).tolist()), Split(seed=seed ^ 1, holdout=share))
    assert tested.tolist() != other.tolist()
    for half in (tested[:200], tested[200:]):
        assert abs(half.mean() - share) < 5 * (share * (1 - share) / 200) ** 0.5


def test_the_identity_of_the_contract_decides_what_stays_together() -> None:
    """Two visits to the same flat, although no feature of them is equal."""
    contract = parse(CONTRACT_TEXT + "identity: [flat]\n")
    frame = EIGHTY.assign(flat=[f"{row // 2}" for row in range(80)])
    tested = split(contract, frame, Split(seed=1, holdout=0.25))
    assert (tested[::2] == tested[1::2]).all()
    assert 0 < tested.sum() < 80


def test_too_few_different_rows_are_refused(tmp_path: Path, validated: Project) -> None:
    """Repeated rows count once; the earlier split stays."""
    project = write_project(tmp_path / "same", frame=homes([50.0] * 30))
    with pytest.raises(DataError, match="1 different rows are too few to split"):
        run_data(project)
    before = contents(validated)
    source(validated).write_bytes(csv(LINES[0]))
    with pytest.raises(DataError, match="too few"):
        run_all(validated)
    after = contents(validated)
    assert all(after[name] == before[name] for name in ("train", "holdout", "profile"))


def test_the_stage_divides_all_validated_rows_and_profiles_the_training_rows(
    sound: Project,
) -> None:
    train, holdout = pd.read_parquet(sound.train), pd.read_parquet(sound.holdout)
    both = pd.concat([train, holdout]).sort_values("area", ignore_index=True)
    rows = pd.read_parquet(sound.validated).sort_values("area", ignore_index=True)
    pd.testing.assert_frame_equal(both, rows)
    measured = read_json(sound.profile)
    assert measured["rows"] == len(train)
    assert measured["columns"]["area"]["quantiles"]["1.0"] == train["area"].max()


FEATURES = np.array([[10.0, 1, 0, np.nan], [20.0, 1, 0, 5], [30.0, 3, 2, np.nan], [40.0, 3, 0, 7]])
TARGET = np.array([100.0, 200, 300, 400])


def test_the_profile_measures_the_known_values_of_each_column() -> None:
    """The deviation is the population's; a category has the share also of what does not occur."""
    found = profile(CONTRACT, FEATURES, TARGET)
    measured = found["columns"]
    assert found["data"] != profile(CONTRACT, FEATURES, TARGET + 1)["data"]
    area = measured["area"]
    assert (area["null_share"], area["mean"]) == (0, 25)
    assert area["std"] == pytest.approx(125**0.5)
    wanted = {"0.0": 10, "0.25": 17.5, "0.5": 25, "0.75": 32.5, "1.0": 40}
    assert {key: area["quantiles"][key] for key in wanted} == wanted
    assert (measured["balcony"]["null_share"], measured["balcony"]["mean"]) == (0.5, 6)
    assert measured["rent"]["mean"] == 250
    shares = {"gas": 0.75, "oil": 0, "wood": 0.25}
    assert measured["heating"] == {"null_share": 0, "shares": shares}


def test_columns_of_nulls_have_a_profile_without_figures() -> None:
    heating = CONTRACT.features[2].model_copy(update={"nullable": True})
    contract = CONTRACT.model_copy(update={"features": (heating, CONTRACT.features[3])})
    measured = profile(contract, np.full((2, 2), np.nan), TARGET[:2])["columns"]
    shares = {"gas": 0, "oil": 0, "wood": 0}
    assert measured["heating"] == {"null_share": 1, "shares": shares}
    assert measured["balcony"] == {"null_share": 1}
