"""Doubtful labels are found where they were planted, and new ones come in whole or not at all."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor

from mlref.core.errors import DataError, MlrefError
from mlref.core.rows import Array
from mlref.core.storage import Project
from mlref.data.folds import Folds
from mlref.data.tables import read_csv, row_ids, write_parquet
from mlref.evaluation.label_issues import issues, review
from tests.fakes import CONTRACT
from tests.projects import RENTS_TEXT, rents

ROWS, PLANTED = 400, 20


def labelled(seed: int, wrong: float = 0.0) -> tuple[Array, Array, set[int]]:
    """Rows whose labels have normal errors of 1; twenty of them are wrong by so much more."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(ROWS, 5))
    target = features @ np.arange(1.0, 6.0) + generator.normal(size=ROWS)
    bad = generator.choice(ROWS, PLANTED, replace=False)
    target[bad] += wrong * generator.choice([-1, 1], PLANTED)
    return features, target, set(bad.tolist())


def standing(table: pd.DataFrame) -> set[int]:
    """Positions of the rows that stand out."""
    return set(table.index[table["stands_out"]])


def test_wrong_labels_head_the_list_and_stand_out_in_every_run() -> None:
    """Five per cent of all, wrong by five times the usual error; sorted as by cleanlab's quality."""
    features, target, bad = labelled(0, wrong=5)
    table, again, other = (issues(LinearRegression(), features, target, seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(table, again)
    assert not table["suggested"].equals(other["suggested"])
    assert len(bad & set(table.index[:PLANTED])) >= 18
    assert len(bad & standing(table)) >= 18
    assert len(standing(table) - bad) <= 8, "about a fifth may be there by chance"
    assert table["quality"].is_monotonic_increasing
    assert table["distance"].is_monotonic_decreasing
    assert sorted(table.index) == list(range(ROWS))


def test_sound_labels_seldom_stand_out_and_chance_is_as_the_table_says() -> None:
    """Of ten tables without a mistake at most two have anything on show; here one would be usual."""
    tables = [issues(LinearRegression(), *labelled(seed)[:2], seed) for seed in range(10)]
    assert sum(len(standing(table)) > 0 for table in tables) <= 2
    for expected in (20, 100):
        found = np.mean([(table["by_chance"] <= expected).sum() for table in tables])
        assert found == pytest.approx(expected, rel=0.25)


def test_a_model_without_error_leaves_nothing_to_doubt() -> None:
    """No division by its usual distance, which is zero."""
    features = np.arange(40.0).reshape(-1, 1)
    assert not standing(issues(LinearRegression(), features, np.zeros(40), 0))


def test_a_group_does_not_confirm_its_own_mistake() -> None:
    """All five rows of one house are wrong alike: by single rows each is excused by the other four."""
    house = np.repeat(np.arange(40), 5)
    wrong = {*np.flatnonzero(house == 17).tolist()}
    target = house + np.random.default_rng(0).normal(0, 0.3, 200) + 20.0 * (house == 17)
    rows = KNeighborsRegressor(3), house.reshape(-1, 1).astype(float), target, 0
    assert not standing(issues(*rows)) & wrong
    assert standing(issues(*rows, Folds(house % 5, house, forward=False))) >= wrong


def test_the_review_keeps_groups_together(project: Project) -> None:
    """Three groups cannot be dealt into five folds, which it says."""
    project.contract.write_text(RENTS_TEXT + "split: {by: group, column: heating}\n")
    with pytest.raises(DataError, match="3 different values of 'heating' are too few for 5 folds"):
        review(project)


def test_the_review_list_names_rows_values_and_reasons(project: Project, tmp_path: Path) -> None:
    """One label has lost its decimal point and one a digit; the list is as long as it is wanted."""
    frame = rents(seed=1)
    frame.loc[10, "rent"], frame.loc[90, "rent"] = 19_000.0, 40.0
    write_parquet(project.validated, frame)
    output = tmp_path / "list.csv"
    said = review(project, output, listed=3)
    listed = read_csv(output)
    assert list(listed) == ["row", "id", "value", "suggested", "quality", "stands_out", "reason"]
    assert listed["row"].tolist()[:2] == ["12", "92"]  # lines of the raw table
    names = row_ids(CONTRACT, frame)
    assert listed["id"].tolist()[:2] == [names[10], names[90]]
    assert listed["stands_out"].tolist() == ["yes", "yes", "no"]
    assert "euro above the" in listed["reason"][0] and "euro below the" in listed["reason"][1]
    assert "times the usual distance; of 120 sound labels 0.0 would be" in listed["reason"][0]
    first, second, *_ = said.splitlines()
    assert first == "2 of 120 labels stand out; of 120 sound labels 0.0 would be so far off."
    assert second.startswith("  row 12, 19000: ")
    assert f"The 3 most doubtful → {output}" in said
    assert "the model may be what errs" in said
    assert not project.label_issues.exists()


def test_without_a_doubtful_label_the_review_says_so(project: Project) -> None:
    """The list is written all the same; without a tuned model the refusal says what to run."""
    write_parquet(project.validated, rents(seed=1))
    said = review(project)
    assert said.startswith("No label of 120 stands out: chance alone puts as many sound ones")
    assert "The 20 most doubtful → reports/label_issues.csv" in said
    assert read_csv(project.label_issues)["stands_out"].unique().tolist() == ["no"]
    project.tuning.unlink()
    with pytest.raises(MlrefError, match=r"tuning\.json cannot be read .* Run `make train`"):
        review(project)
