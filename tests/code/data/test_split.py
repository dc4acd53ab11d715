"""The test set shares nothing with the rows to train on."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mlref.core.contract import Contract, parse
from mlref.core.errors import DataError, RowsRefused
from mlref.core.settings import Split
from mlref.core.storage import Project, read_json
from mlref.data import ingest, validate
from mlref.data.split import profile, run, split
from mlref.data.tables import encode
from tests.code.data.conftest import HEADER, LINES, MakeProject, csv, run_all
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


GROUPED, BY_DAY = (
    parse(CONTRACT_TEXT + f"split: {{by: {by}, column: {column}}}\n")
    for by, column in (("group", "house"), ("time", "day"))
)


def test_a_group_is_on_one_side_and_stays_there() -> None:
    """Whatever its rows are, and whatever other groups come and go."""
    frame = EIGHTY.assign(house=[f"h{row // 4}" for row in range(80)])
    tested = split(GROUPED, frame, Split(seed=1, holdout=0.25))
    assert tested.reshape(20, 4).all(axis=1).tolist() == tested.reshape(20, 4).any(axis=1).tolist()
    assert 0 < tested.sum() < 80
    changed = frame[20:].assign(area=lambda rows: rows["area"] + 0.1)
    assert split(GROUPED, changed, Split(seed=1, holdout=0.25)).tolist() == tested[20:].tolist()


@pytest.mark.parametrize(
    ("days", "share"),
    [
        ([f"2026-01-{day:02}" for day in range(1, 11)], 0.2),
        ([str(day) for day in range(95, 105)], 0.2),  # numbers, not text: 95 is before 100
        ([0.5, 1, 2, 3, 4, 5, 6, 6, 6, 6], 0.4),  # a moment is not divided
        ([1] * 7 + [2] * 3, 0.3),
    ],
)
def test_by_time_the_last_rows_are_the_test_set_whatever_their_order(
    days: list[Any], share: float
) -> None:
    order = np.random.default_rng(0).permutation(10)
    frame = homes(np.arange(10.0)).assign(day=days).iloc[order]
    tested = split(BY_DAY, frame, Split(seed=1, holdout=0.2))
    last = np.arange(10) >= round((1 - share) * 10)
    assert tested.tolist() == last[order].tolist()


def test_by_time_copies_of_a_row_are_where_the_last_of_them_is() -> None:
    """Copies by the contract's identity; without one, equal features on two days are two rows."""
    frame = homes([50.0] * 10).assign(day=range(10), flat=[1, 2, 3, 4, 5, 6, 7, 8, 9, 2])
    named = parse(CONTRACT_TEXT + "split: {by: time, column: day}\nidentity: [flat]\n")
    places = [
        np.flatnonzero(split(of, frame, Split(seed=1, holdout=0.2))) for of in (named, BY_DAY)
    ]
    assert [place.tolist() for place in places] == [[1, 9], [8, 9]]


@pytest.mark.parametrize(
    ("contract", "cells", "violation"),
    [
        (GROUPED, ["a", "", "c"], "null; allowed: a value that names the group of the row"),
        (BY_DAY, ["1", "soon", "3"], "'soon'; allowed: a number, or a date such as 2026-11-30"),
        (BY_DAY, ["2026-01-01", "2026-02-30", "2026-01-02"], "'2026-02-30'; allowed"),
    ],
)
def test_a_cell_that_cannot_divide_the_rows_is_refused(
    contract: Contract, cells: list[str], violation: str, rents: MakeProject
) -> None:
    column = contract.split.column
    lines = [f"{line},{cell}" for line, cell in zip(LINES, cells, strict=False)]
    text = CONTRACT_TEXT + f"split: {{by: {contract.split.by}, column: {column}}}\n"
    with pytest.raises(RowsRefused, match=f"row 3, column '{column}': got {violation}"):
        run_all(rents(text, csv(*lines, header=f"{HEADER},{column}")))


@pytest.mark.parametrize(
    ("contract", "cells", "count"),
    [
        (CONTRACT, {"area": 50.0}, "1 different rows"),
        (GROUPED, {"house": "a"}, "1 different values of 'house'"),
        (BY_DAY, {"day": "2026-01-01"}, "1 different values of 'day'"),
    ],
)
def test_too_few_different_rows_groups_or_times_are_refused(
    contract: Contract, cells: dict[str, Any], count: str, tmp_path: Path
) -> None:
    by = f"split: {{by: {contract.split.by}, column: {contract.split.column}}}\n"
    text = CONTRACT_TEXT + by * (contract.split.column is not None)
    project = write_project(tmp_path, text, EIGHTY[10:].assign(**cells))
    with pytest.raises(DataError, match=f"{count} are too few to split"):
        run_data(project)
    assert not project.train.exists()


def test_the_column_that_divides_the_rows_is_carried_along_and_is_no_feature(
    rents: MakeProject,
) -> None:
    """From the source to both sides; the encoded rows are those of the features."""
    lines = [f"{day},{line}" for day, line in enumerate(LINES)]
    text = CONTRACT_TEXT + "split: {by: time, column: day}\n"
    project = rents(text, csv(*lines, header=f"day,{HEADER}"))
    ingest.run(project)
    validate.run(project)
    said = run(project)
    train, holdout = pd.read_parquet(project.train), pd.read_parquet(project.holdout)
    assert (train["day"].tolist(), holdout["day"].tolist()) == (list("012345"), ["6", "7"])
    assert encode(BY_DAY, train)[0].shape == (6, 4)
    assert "day" not in read_json(project.profile)["columns"]
    assert said == (
        "6 rows to train on, 2 in the test set (25.0%; 25% asked for)\n  The test set is too small for"
        " the gate: it needs 20 rows (register.smallest_holdout), so no model of these rows will become"
        " champion."
    )


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
