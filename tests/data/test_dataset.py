"""The data as it is: the repository's own dataset keeps its contract.

A fork's data is checked by the same tests; nothing here names a column.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlref.core import rows, settings
from mlref.core.contract import Contract, load
from mlref.core.errors import DataError
from mlref.core.storage import Project, read_json
from mlref.data import ingest, split, tables, validate

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The repository's configuration and source, after the three stages of data."""
    folder = tmp_path_factory.mktemp("dataset")
    for name in ("config", "data/source"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(ROOT / name)
    project = Project(folder)
    for stage in (ingest, validate, split):
        stage.run(project)
    return project


@pytest.fixture(scope="module")
def contract(project: Project) -> Contract:
    """The repository's contract."""
    return load(project.contract)


@pytest.fixture(scope="module")
def validated(project: Project) -> pd.DataFrame:
    """All rows."""
    return tables.read_parquet(project.validated)


def test_the_dataset_keeps_its_contract(project: Project, validated: pd.DataFrame) -> None:
    """Every row of the source passed validation; none was dropped but those without a target."""
    declared, raw = load(project.contract), tables.read_csv(project.raw)
    missing = raw[declared.target.name].isna().sum() if declared.missing_target == "drop" else 0
    assert len(validated) == len(raw) - missing


def test_few_values_are_outside_what_is_expected(
    contract: Contract, validated: pd.DataFrame
) -> None:
    """So that a warning means: unlike nearly all rows. `adopt` takes the middle 99 % of a column."""
    table = {column.name: validated[column.name].to_numpy() for column in contract.columns}
    verdict = rows.validate(contract.columns, table)
    assert verdict.refused == []
    unusual = Counter(violation.column for violation in verdict.unusual)
    assert max(unusual.values(), default=0) <= 0.01 * len(validated) + 2


def test_what_is_expected_is_close_to_what_was_seen(
    contract: Contract, validated: pd.DataFrame
) -> None:
    """A range that holds everything because it is far too wide would never warn."""
    for column in contract.columns:
        if column.expected is not None:
            seen = np.ptp(validated[column.name].dropna().to_numpy())
            assert seen > 0.6 * (column.expected[1] - column.expected[0]), column.name


@pytest.mark.parametrize("factor", [0.01, 0.1, 1 / np.log(10), 1 / 2.54, 2.2046, 10, 100])
def test_no_column_changes_its_unit_unnoticed(
    project: Project, contract: Contract, validated: pd.DataFrame, factor: float
) -> None:
    """Percent, decimal logarithms, inches, pounds: a value is impossible, or many are unusual."""
    limit = settings.load(project.params).validate_.max_unusual
    unnoticed = []
    for column in contract.columns:
        if column.valid is None or column.expected is None:
            continue
        changed = validated.assign(**{column.name: validated[column.name] * factor})
        possible = changed[column.name].between(*column.valid).all()
        if column.type == "integer":
            possible &= (changed[column.name].dropna() % 1 == 0).all()
        try:
            validate.check_usual(contract, changed, limit)
            unnoticed += [column.name] if possible else []
        except DataError as refusal:
            assert "Check the unit." in str(refusal)
    assert unnoticed == []


def test_the_splits_are_disjoint_and_together_everything(
    project: Project, contract: Contract, validated: pd.DataFrame
) -> None:
    """No row, and no two rows that name the same thing, on both sides."""
    train, holdout = (tables.read_parquet(path) for path in (project.train, project.holdout))
    assert len(train) + len(holdout) == len(validated)
    identity = list(contract.identity or contract.names)
    assert train[identity].merge(holdout[identity], on=identity).empty
    order = list(validated)
    both = pd.concat([train, holdout]).sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(both, validated.sort_values(order, ignore_index=True))


def test_the_held_out_share_is_what_the_settings_say(project: Project) -> None:
    """Within three standard errors of a draw by lot."""
    wanted = settings.load(project.params).split
    train, holdout = (len(tables.read_parquet(path)) for path in (project.train, project.holdout))
    rows = train + holdout
    spread = (rows * wanted.holdout * (1 - wanted.holdout)) ** 0.5
    assert abs(holdout - wanted.holdout * rows) <= 3 * spread


def test_a_feature_that_follows_the_target_too_closely_is_refused(
    project: Project, contract: Contract, validated: pd.DataFrame
) -> None:
    """No column of the data is; a copy of the target among them is, with a little noise too."""
    limit = settings.load(project.params).validate_.max_correlation
    validate.check_leakage(contract, validated, limit)
    about = {"name": "a copy", "type": "number", "valid": None, "transform": "none"}
    copy = contract.target.model_copy(update=about)
    leaking = contract.model_copy(update={"features": (*contract.features, copy)})
    target = validated[contract.target.name]
    for noise in (0, 0.05 * target.std()):
        drawn = np.random.default_rng(0).normal(0, noise, len(target))
        with pytest.raises(DataError, match="'a copy' follows the target"):
            validate.check_leakage(leaking, validated.assign(**{"a copy": target + drawn}), limit)


def test_the_example_row_is_accepted_without_a_warning(contract: Contract) -> None:
    """It is what the documentation sends to the service."""
    verdict = rows.validate_records(contract, [contract.example])
    assert (verdict.refused, verdict.unusual) == ([], [])


def test_every_slice_has_enough_held_out_rows(project: Project, contract: Contract) -> None:
    """Each category and each interval between edges can be evaluated."""
    fewest = settings.load(project.params).evaluate.smallest_slice
    holdout = tables.read_parquet(project.holdout)
    columns = {column.name: column for column in contract.features}
    for part in contract.slices:
        values = holdout[part.column]
        allowed = columns[part.column].allowed
        groups = (
            [(values == value).sum() for value in allowed]
            if allowed
            else np.bincount(
                np.digitize(values, part.edges), minlength=len(part.edges) + 1
            ).tolist()
        )
        assert min(groups) >= fewest, (part.column, groups)


def test_the_committed_profile_is_of_these_rows(project: Project) -> None:
    """What the clone ships is what its stages write."""
    committed = read_json(ROOT / "reports" / "profile.json")
    assert committed == read_json(project.profile)
