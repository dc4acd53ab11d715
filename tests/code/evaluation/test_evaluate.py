"""Stage 7: the bundle on the held-out rows."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlref.core.contract import Contract
from mlref.core.contract import load as load_contract
from mlref.core.contract import parse
from mlref.core.errors import BundleError, DataError, MlrefError
from mlref.core.settings import Bootstrap
from mlref.core.storage import Project, digest, read_json
from mlref.data.tables import encode, fingerprint, read_csv, read_parquet, row_ids, write_parquet
from mlref.evaluation import evaluate
from mlref.evaluation.evaluate import baseline_predictions, check_disjoint, ladder
from tests.fakes import CONTRACT, CONTRACT_TEXT
from tests.projects import RENTS_TEXT, rents, run_model

KNOBS = Bootstrap(seed=0, resamples=200, confidence=0.95)


def out_of_fold(**models: float) -> pd.DataFrame:
    """Predictions that are off by noise of the given size."""
    generator = np.random.default_rng(0)
    actual = generator.normal(100, 30, 60)
    noise = {name: actual + generator.normal(0, size, 60) for name, size in models.items()}
    return pd.DataFrame({"actual": actual} | noise)


def test_the_ladder_compares_with_every_simpler_candidate() -> None:
    """Those to the left in the table, and no others."""
    found = ladder(CONTRACT, out_of_fold(mean=30, line=10, chosen=2, trees=1), "chosen", KNOBS)
    assert list(found) == ["mean", "line"]
    assert all(interval["upper"] < 0 for interval in found.values())


def test_the_simplest_candidate_has_nothing_below_it() -> None:
    """The gate sees that from the empty ladder."""
    assert ladder(CONTRACT, out_of_fold(mean=30, line=10), "mean", KNOBS) == {}


def test_the_ladder_says_when_it_cannot_tell() -> None:
    """Equal quality: the interval holds zero."""
    found = ladder(CONTRACT, out_of_fold(one=10, other=10), "other", KNOBS)
    assert found["one"]["lower"] < 0 < found["one"]["upper"]


def keyed(contract_text: str) -> Contract:
    """A contract whose rows are named by a key."""
    return parse(contract_text + "identity: [id]\n")


@pytest.mark.parametrize("row", [0, 7])
@pytest.mark.parametrize("balcony", [3.5, float("nan")], ids=["no null", "with a null"])
def test_a_row_on_both_sides_is_refused_and_named(row: int, balcony: float) -> None:
    """Two rows with equal features are the same row, nulls included."""
    frame = rents(20).assign(balcony=lambda table: table["balcony"].fillna(1.0))
    train, holdout = frame[:12].copy(), frame[12:].copy()
    train.loc[5, "balcony"] = balcony
    check_disjoint(CONTRACT, train, holdout)
    holdout.iloc[row] = train.loc[5]
    with pytest.raises(DataError, match=f"holdout.parquet: row {row} is also in train.parquet"):
        check_disjoint(CONTRACT, train, holdout)


def test_rows_of_equal_identity_are_the_same_row() -> None:
    """Whatever their features are; and equal features with another key are not."""
    frame = rents(4).assign(id=[1, 2, 3, 1])
    with pytest.raises(DataError, match="row 1 is also in train"):
        check_disjoint(keyed(CONTRACT_TEXT), frame[:2], frame[2:])
    twins = pd.concat([rents(1), rents(1)]).assign(id=[1, 2])
    check_disjoint(keyed(CONTRACT_TEXT), twins[:1], twins[1:])


def test_baselines_are_fitted_on_the_training_rows() -> None:
    """The mean is that of the training target."""
    frame = rents(40)
    features, _ = encode(CONTRACT, frame[30:])
    found = baseline_predictions(CONTRACT, frame[:30], features)
    assert found["mean"] == pytest.approx(np.full(10, frame["rent"][:30].mean()))
    assert found["single_feature"].shape == (10,)


def test_evaluating_twice_gives_equal_files(project: Project) -> None:
    """To the byte."""
    paths = [project.metrics, project.summary, *project.plots.iterdir()]
    assert {path.stem for path in paths[2:]} >= {"predictions", "learning_curve", "effects"}
    before = [path.read_bytes() for path in paths]
    assert evaluate.run(project).endswith("on 30 held-out rows")
    assert [path.read_bytes() for path in paths] == before


def test_the_metrics_have_the_shape_that_is_fixed(trained: Project) -> None:
    """Every figure is a value with its interval."""
    metrics = read_json(trained.metrics)
    assert metrics["rows"] == 30
    for name in ("rmse", "mae", "r2", "median_error", "bias"):
        assert metrics[name]["lower"] <= metrics[name]["value"] <= metrics[name]["upper"]
    assert set(metrics["coverage"]) == {"value", "lower", "upper", "promised"}
    assert metrics["coverage"]["promised"] == 0.9
    assert set(metrics["baselines"]) == set(metrics["ladder"]) == {"mean", "single_feature"}
    assert set(metrics["baselines"]["mean"]["rmse"]) == {"value", "lower", "upper"}
    assert [promise["passed"] for promise in metrics["promises"]] == [True, True, True]


def test_the_metrics_name_the_bundle_and_the_rows(project: Project) -> None:
    """So that nobody takes them for those of another model or other rows."""
    metrics, holdout = read_json(project.metrics), read_parquet(project.holdout)
    assert metrics["digest"] == digest(project.bundle / "MANIFEST.json")
    assert metrics["holdout"] == fingerprint(*encode(CONTRACT, holdout))
    write_parquet(project.holdout, holdout.assign(rent=holdout["rent"] + 1))
    evaluate.run(project)
    again = read_json(project.metrics)
    assert again["digest"] == metrics["digest"]
    assert again["holdout"] != metrics["holdout"]


def test_the_features_are_judged_on_training_rows(project: Project) -> None:
    """Other held-out rows change nothing of what a feature is worth."""
    before = read_json(project.metrics)["features"]
    assert list(before) == sorted(CONTRACT.names)
    assert before["area"]["lower"] > 0
    holdout = read_parquet(project.holdout)
    write_parquet(project.holdout, holdout.assign(rent=1000.0))
    evaluate.run(project)
    assert read_json(project.metrics)["features"] == before


def test_the_worst_rows_are_named_and_their_features_are_not(trained: Project) -> None:
    """Largest error first; people's records do not belong in a committed report."""
    worst, table = read_json(trained.metrics)["worst"], read_csv(trained.predictions)
    errors = [abs(row["value"] - row["actual"]) for row in worst]
    assert len(errors) == 10 and errors == sorted(errors, reverse=True)
    assert {row["row"] for row in worst} <= set(table["row"])
    every = (table["value"].astype(float) - table["actual"].astype(float)).abs()
    assert errors[0] == pytest.approx(every.max(), rel=1e-3)
    assert set(worst[0]) == {"row", "actual", "value", "lower", "upper"}


def test_a_slice_says_of_which_column_it_is_and_whether_that_is_sensitive(project: Project) -> None:
    """The gate and the cards ask for it."""
    text = RENTS_TEXT.replace("- name: heating\n", "- name: heating\n    sensitive: true\n")
    project.contract.write_text(text)
    run_model(project)
    metrics = read_json(project.metrics)
    assert {part["column"]: part["sensitive"] for part in metrics["slices"].values()} == {
        "heating": True, "area": False,
    }  # fmt: skip
    assert set(metrics["fairness"]) == {"heating"}


def test_small_slices_are_counted_and_not_judged(trained: Project) -> None:
    """Sizes are those of the held-out rows; below ten rows there are no figures."""
    found = read_json(trained.metrics)["slices"]
    holdout = read_parquet(trained.holdout)
    assert {name: found[name]["rows"] for name in found if "heating" in name} == {
        f"heating = {value}": int((holdout["heating"] == value).sum())
        for value in ("gas", "oil", "wood")
    }
    assert {"rmse" in figures for figures in found.values()} == {True, False}
    for figures in found.values():
        assert ("rmse" in figures) == figures["judged"] == (figures["rows"] >= 10)


def test_the_summary_fits_a_line(trained: Project) -> None:
    """Numbers only, taken from the metrics."""
    summary, metrics = read_json(trained.summary), read_json(trained.metrics)
    assert all(isinstance(value, float) for value in summary.values())
    assert summary["rmse"] == metrics["rmse"]["value"]
    assert summary["rmse_upper"] == metrics["rmse"]["upper"]
    assert summary["rmse_of_mean"] == metrics["baselines"]["mean"]["rmse"]["value"]


def test_the_predictions_are_those_of_the_held_out_rows(trained: Project) -> None:
    """One line a row, with its name and its interval."""
    table = read_csv(trained.predictions)
    contract, holdout = load_contract(trained.contract), read_parquet(trained.holdout)
    _, target = encode(contract, holdout)
    assert list(table) == ["row", "actual", "value", "lower", "upper"]
    assert table.pop("row").tolist() == row_ids(contract, holdout)
    table = table.astype(float)
    assert table["actual"].to_numpy() == pytest.approx(target, rel=1e-5)
    assert ((table["lower"] < table["value"]) & (table["value"] < table["upper"])).all()


def test_training_rows_in_the_holdout_are_refused(project: Project) -> None:
    """Nothing is written."""
    train, holdout = read_parquet(project.train), read_parquet(project.holdout)
    write_parquet(project.holdout, pd.concat([holdout, train[:1]]))
    before = project.metrics.read_bytes()
    with pytest.raises(DataError, match="row 30 is also in train.parquet"):
        evaluate.run(project)
    assert project.metrics.read_bytes() == before


def test_too_few_held_out_rows_are_refused(project: Project) -> None:
    """Nine rows say nothing."""
    write_parquet(project.holdout, read_parquet(project.holdout)[:9])
    with pytest.raises(DataError, match=r"9 rows are too few to evaluate on\n  At least 10 are"):
        evaluate.run(project)


def test_a_bundle_of_an_earlier_contract_is_refused(project: Project) -> None:
    """The message says what to run."""
    project.contract.write_text(RENTS_TEXT.replace("Living area", "Total area"))
    with pytest.raises(MlrefError, match="another contract .* Run `make train`"):
        evaluate.run(project)


def test_an_altered_bundle_is_refused(project: Project) -> None:
    """What is evaluated is what was packaged."""
    (project.bundle / "intervals.json").write_text("{}")
    with pytest.raises(BundleError, match="intervals.json was altered"):
        evaluate.run(project)


def test_held_out_rows_of_equal_target_can_be_evaluated(project: Project) -> None:
    """R² is unknown then, and null in the files."""
    holdout: Any = read_parquet(project.holdout)
    write_parquet(project.holdout, holdout.assign(rent=1000.0))
    evaluate.run(project)
    assert read_json(project.metrics)["r2"] == {"value": None, "lower": None, "upper": None}
