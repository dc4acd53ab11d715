"""Doubtful labels are found where they were planted, and new ones come in whole or not at all."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from mlref.core.errors import MlrefError
from mlref.core.rows import Array
from mlref.core.storage import Project
from mlref.data.tables import read_csv, read_parquet, row_ids, write_parquet
from mlref.evaluation.label_issues import issues, review
from tests.fakes import CONTRACT
from tests.projects import rents

ROWS, PLANTED = 400, 20
HOME = "area,rooms,heating,balcony,rent\n"


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


@pytest.mark.parametrize("seed", range(3))
def test_wrong_labels_head_the_list_and_stand_out(seed: int) -> None:
    """Five per cent of all, wrong by five times the usual error."""
    features, target, bad = labelled(seed, wrong=5)
    table = issues(LinearRegression(), features, target, seed)
    assert len(bad & set(table.index[:PLANTED])) >= 18
    assert len(bad & standing(table)) >= 18
    assert len(standing(table) - bad) <= 8, "about a fifth may be there by chance"


def test_sound_labels_seldom_stand_out() -> None:
    """Of ten tables without a mistake, at most two have anything on show; here one would be usual."""
    alarms = [
        len(standing(issues(LinearRegression(), *labelled(seed)[:2], seed))) for seed in range(10)
    ]
    assert sum(alarm > 0 for alarm in alarms) <= 2


def test_what_chance_would_do_is_what_it_does() -> None:
    """On sound labels, on average, as many rows are beyond a distance as the table says."""
    tables = [issues(LinearRegression(), *labelled(seed)[:2], seed) for seed in range(10)]
    for expected in (20, 100):
        found = np.mean([(table["by_chance"] <= expected).sum() for table in tables])
        assert found == pytest.approx(expected, rel=0.25)


def test_the_list_is_sorted_by_cleanlabs_quality() -> None:
    """The distance that decides is the same order."""
    table = issues(LinearRegression(), *labelled(0, wrong=5)[:2], 0)
    assert table["quality"].is_monotonic_increasing
    assert table["distance"].is_monotonic_decreasing
    assert sorted(table.index) == list(range(ROWS))


def test_the_same_seed_gives_the_same_list() -> None:
    """Another seed has other folds."""
    features, target, _ = labelled(0)
    one, same, other = (issues(LinearRegression(), features, target, seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert not one["suggested"].equals(other["suggested"])


def test_a_model_without_error_leaves_nothing_to_doubt() -> None:
    """No division by its usual distance, which is zero."""
    features = np.arange(40.0).reshape(-1, 1)
    table = issues(LinearRegression(), features, np.zeros(40), 0)
    assert not standing(table)


@pytest.fixture
def sound(project: Project) -> Project:
    """A trained project with homes among which no label stands out."""
    write_parquet(project.validated, rents(seed=1))
    return project


@pytest.fixture
def planted(sound: Project) -> Project:
    """The same, in which one label has lost its decimal point and one a digit."""
    project, frame = sound, rents(seed=1)
    frame.loc[10, "rent"], frame.loc[90, "rent"] = 19_000.0, 40.0
    write_parquet(project.validated, frame)
    return project


def test_the_review_list_names_rows_values_and_reasons(planted: Project) -> None:
    """Rows by their line in the raw table, and by their identity."""
    said = review(planted)
    listed = read_csv(planted.label_issues)
    assert list(listed) == ["row", "id", "value", "suggested", "quality", "stands_out", "reason"]
    assert listed["row"].tolist()[:2] == ["12", "92"]
    names = row_ids(CONTRACT, read_parquet(planted.validated))
    assert listed["id"].tolist()[:2] == [names[10], names[90]]
    assert listed["stands_out"].tolist().count("yes") == 2
    assert "euro above the" in listed["reason"][0] and "euro below the" in listed["reason"][1]
    assert "times the usual distance; of 120 sound labels 0.0 would be" in listed["reason"][0]
    first, second, *_ = said.splitlines()
    assert first == "2 of 120 labels stand out; of 120 sound labels 0.0 would be so far off."
    assert second.startswith("  row 12, 19000: ")
    assert "The 20 most doubtful → reports/label_issues.csv" in said
    assert "the model may be what errs" in said


def test_without_a_doubtful_label_the_review_says_so(sound: Project) -> None:
    """The list is written all the same, for whoever wants to look."""
    said = review(sound)
    assert said.startswith("No label of 120 stands out: chance alone puts as many sound ones")
    assert read_csv(sound.label_issues)["stands_out"].unique().tolist() == ["no"]


def test_the_review_list_goes_where_it_is_wanted(planted: Project, tmp_path: Path) -> None:
    """As long as it is wanted, with the same bytes each time."""
    output = tmp_path / "list.csv"
    assert f"The 3 most doubtful → {output}" in review(planted, output, listed=3)
    before = output.read_bytes()
    review(planted, output, listed=3)
    assert output.read_bytes() == before
    assert len(read_csv(output)) == 3
    assert not planted.label_issues.exists()


def test_a_review_without_a_tuned_model_says_what_to_run(project: Project) -> None:
    """It suggests by the model that was chosen."""
    project.tuning.unlink()
    with pytest.raises(MlrefError, match=r"tuning\.json cannot be read .* Run `make train`"):
        review(project)
