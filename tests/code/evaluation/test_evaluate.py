"""Stage 7: the bundle on the test set."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlref.bundle.predictor import Predictor
from mlref.core.contract import parse
from mlref.core.errors import BundleError, DataError, MlrefError
from mlref.core.settings import Bootstrap
from mlref.core.storage import Project, digest, read_json, write_json
from mlref.data.tables import encode, fingerprint, read_csv, read_parquet, row_ids, write_parquet
from mlref.evaluation import evaluate
from mlref.evaluation.draw import draw
from mlref.evaluation.evaluate import (
    against_cross_validation,
    baseline_predictions,
    check_disjoint,
    compare_simpler,
    measure,
)
from mlref.evaluation.metrics import score_interval
from tests.code.evaluation.test_draw import NAMES
from tests.fakes import CONTRACT, CONTRACT_TEXT
from tests.projects import RENTS_TEXT, rents, run_data, run_model, set_params, write_project

SETTINGS = Bootstrap(seed=0, resamples=200, confidence=0.95)


def out_of_fold(**models: float) -> pd.DataFrame:
    """Predictions that are off by noise of the given size."""
    generator = np.random.default_rng(0)
    actual = generator.normal(100, 30, 60)
    noise = {name: actual + generator.normal(0, size, 60) for name, size in models.items()}
    return pd.DataFrame({"actual": actual} | noise)


def test_the_model_is_compared_with_every_simpler_candidate_and_says_when_it_cannot_tell() -> None:
    table = out_of_fold(mean=30, line=10, chosen=2, trees=1)
    found = compare_simpler(CONTRACT, table, "chosen", SETTINGS)
    assert list(found) == ["mean", "line"]
    assert all(interval["upper"] < 0 for interval in found.values())
    assert compare_simpler(CONTRACT, table, "mean", SETTINGS) == {}
    equal = compare_simpler(CONTRACT, out_of_fold(one=10, other=10), "other", SETTINGS)
    assert equal["one"]["lower"] < 0 < equal["one"]["upper"]


def test_the_test_set_is_put_beside_cross_validation_with_what_chance_allows() -> None:
    """Of 150 pairs of sets of one population about 95 % differ by less."""
    generator, inside = np.random.default_rng(0), []
    for _ in range(150):
        errors = generator.normal(0, 10, (2, 60))
        table = pd.DataFrame({"actual": 0.0, "line": errors[0]})
        tested = score_interval(errors[1] ** 2, SETTINGS)
        found = against_cross_validation(CONTRACT, table, "line", tested, SETTINGS)
        assert found["difference"] == pytest.approx(tested["value"] - found["value"])
        inside.append(abs(found["difference"]) <= found["by_chance"])
    assert found["rows"] == 60
    assert np.mean(inside) == pytest.approx(0.95, abs=0.04)


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
    keyed, frame = parse(CONTRACT_TEXT + "identity: [id]\n"), rents(4).assign(id=[1, 2, 3, 1])
    with pytest.raises(DataError, match="row 1 is also in train"):
        check_disjoint(keyed, frame[:2], frame[2:])
    twins = pd.concat([rents(1), rents(1)]).assign(id=[1, 2])
    check_disjoint(keyed, twins[:1], twins[1:])


@pytest.mark.parametrize("by", ["group", "time"])
def test_a_group_or_a_moment_on_both_sides_is_refused_and_named(by: str) -> None:
    contract = parse(CONTRACT_TEXT + f"split: {{by: {by}, column: unit}}\n")
    frame = rents(6).assign(unit=[1, 1, 2, 3, 3, 4])
    check_disjoint(contract, frame[:3], frame[3:])
    with pytest.raises(DataError, match="the 'unit' of row 0 is also in train.parquet"):
        check_disjoint(contract, frame[:4], frame[4:])


def test_baselines_are_fitted_on_the_training_rows() -> None:
    frame = rents(40)
    features, _ = encode(CONTRACT, frame[30:])
    found = baseline_predictions(CONTRACT, frame[:30], features)
    assert found["mean"] == pytest.approx(np.full(10, frame["rent"][:30].mean()))
    assert found["single_feature"].shape == (10,)


def test_evaluating_twice_gives_equal_files(project: Project) -> None:
    """The fixture has evaluated once, without pictures; each of these is a PNG without time or version."""
    paths = [project.metrics, project.summary, *project.plots.iterdir()]
    before = {path: path.read_bytes() for path in paths}
    said = evaluate.run(project)
    assert "] on the 30 rows of the test set\n  Out of fold it is " in said
    assert {path: path.read_bytes() for path in paths} == before
    pictures = {path.name: path.read_bytes() for path in project.pictures.iterdir()}
    assert {*pictures} == {*NAMES}
    for content in pictures.values():
        assert content.startswith(b"\x89PNG\r\n") and len(content) > 5_000
        assert b"matplotlib" not in content.lower()
    draw(project)
    assert {path.name: path.read_bytes() for path in project.pictures.iterdir()} == pictures


@pytest.mark.parametrize(("by", "left_out"), [("group", 1), ("time", 5 / 6)])
def test_rows_of_groups_or_of_days_go_through_all_stages(
    by: str, left_out: float, tmp_path: Path
) -> None:
    """By time a sixth of the training rows is only learned from; nothing but the features is asked for."""
    text = RENTS_TEXT + f"split: {{by: {by}, column: unit}}\n"
    unit = np.arange(120) // 3 if by == "group" else pd.date_range("2026-01-01", periods=120)
    project = write_project(tmp_path / "clone", text, rents(120).assign(unit=unit))
    set_params(project, tune={"repeats": 1})
    run_data(project)
    run_model(project)
    train, holdout = read_parquet(project.train), read_parquet(project.holdout)
    assert not set(train["unit"]) & set(holdout["unit"])
    assert by == "group" or train["unit"].max() < holdout["unit"].min()
    tuning, intervals = read_json(project.tuning), read_json(project.intervals)
    assert (tuning["model"], intervals["rows"]) == ("elastic_net", len(train) * left_out)
    metrics = read_json(project.metrics)
    compared = metrics["cross_validated"]
    assert compared["rows"] == len(read_csv(project.out_of_fold))
    said = evaluate.write(project, *measure(project))
    assert (f"compared on {compared['rows']} of {len(train)} rows" in said) == (by == "time")
    assert metrics["features"]["area"]["lower"] > 0
    assert Predictor(project.bundle).contract.names == CONTRACT.names


def test_the_metrics_have_the_shape_that_is_fixed(trained: Project) -> None:
    """Every metric is a value with its interval; the summary has the few that fit a line."""
    metrics, summary = read_json(trained.metrics), read_json(trained.summary)
    assert metrics["rows"] == 30
    for name in ("rmse", "mae", "r2", "median_error", "bias"):
        assert metrics[name]["lower"] <= metrics[name]["value"] <= metrics[name]["upper"]
    assert set(metrics["coverage"]) == {"value", "lower", "upper", "promised"}
    assert metrics["coverage"]["promised"] == 0.9
    assert set(metrics["thirds"]) == {"low", "middle", "high"}
    assert sum(third["rows"] for third in metrics["thirds"].values()) == 30
    assert set(metrics["thirds"]["low"]) == {"value", "lower", "upper", "rows", "width"}
    held = [found["value"] for found in metrics["reliability"].values()]
    assert list(metrics["reliability"]) == ["0.5", "0.8", "0.9", "0.95"] and held == sorted(held)
    assert metrics["reliability"]["0.9"]["value"] == metrics["coverage"]["value"]
    assert metrics["winkler"]["value"] > np.mean([t["width"] for t in metrics["thirds"].values()])
    assert set(metrics["baselines"]) == set(metrics["ladder"]) == {"mean", "single_feature"}
    assert set(metrics["baselines"]["mean"]["rmse"]) == {"value", "lower", "upper"}
    assert [promise["passed"] for promise in metrics["promises"]] == [True, True, True]
    assert all(isinstance(value, float) for value in summary.values())
    assert summary["rmse"] == metrics["rmse"]["value"]
    assert summary["rmse_upper"] == metrics["rmse"]["upper"]
    assert summary["rmse_of_mean"] == metrics["baselines"]["mean"]["rmse"]["value"]


def test_the_metrics_name_the_bundle_and_the_rows_and_features_are_valued_on_training_rows(
    project: Project,
) -> None:
    """Other test rows of equal target: their R² is unknown, and no feature is worth less."""
    before: Any = read_json(project.metrics)
    holdout = read_parquet(project.holdout)
    assert before["digest"] == digest(project.bundle / "MANIFEST.json")
    assert before["holdout"] == fingerprint(*encode(CONTRACT, holdout))
    assert list(before["features"]) == sorted(CONTRACT.names)
    assert before["features"]["area"]["lower"] > 0
    write_parquet(project.holdout, holdout.assign(rent=1000.0))
    evaluate.write(project, *measure(project))
    after = read_json(project.metrics)
    assert (after["digest"], after["features"]) == (before["digest"], before["features"])
    assert after["holdout"] != before["holdout"]
    assert after["r2"] == {"value": None, "lower": None, "upper": None}


def test_the_predictions_and_the_worst_of_them_are_those_of_the_test_set(
    trained: Project,
) -> None:
    """Largest error first, without features: people's records do not belong in a report."""
    table, holdout = read_csv(trained.predictions), read_parquet(trained.holdout)
    assert list(table) == ["row", "actual", "value", "lower", "upper"]
    assert table["row"].tolist() == row_ids(CONTRACT, holdout)
    figures = table.drop(columns="row").astype(float)
    assert figures["actual"].to_numpy() == pytest.approx(holdout["rent"].to_numpy(), rel=1e-5)
    assert figures["value"].between(figures["lower"], figures["upper"]).all()
    worst = read_json(trained.metrics)["worst"]
    errors = [abs(row["value"] - row["actual"]) for row in worst]
    assert len(errors) == 10 and errors == sorted(errors, reverse=True)
    every = (figures["value"] - figures["actual"]).abs()
    assert errors[0] == pytest.approx(every.max(), rel=1e-3)
    assert set(worst[0]) == set(table)


def test_slices_are_counted_and_small_ones_have_no_metrics(trained: Project) -> None:
    found, holdout = read_json(trained.metrics)["slices"], read_parquet(trained.holdout)
    counts = holdout["heating"].value_counts()
    assert {name: part["rows"] for name, part in found.items() if "heating" in name} == {
        f"heating = {value}": counts[value] for value in ("gas", "oil", "wood")
    }
    assert {"rmse" in part for part in found.values()} == {True, False}
    for part in found.values():
        assert ("rmse" in part) == part["judged"] == (part["rows"] >= 10)


def test_a_slice_says_of_which_column_it_is_and_whether_that_is_sensitive(project: Project) -> None:
    text = RENTS_TEXT.replace("- name: heating\n", "- name: heating\n    sensitive: true\n")
    for path in (project.contract, project.bundle / "contract.yaml"):
        path.write_text(text)
    manifest = read_json(project.bundle / "MANIFEST.json")
    manifest["contract"] = manifest["files"]["contract.yaml"] = digest(project.contract)
    write_json(project.bundle / "MANIFEST.json", manifest)
    metrics, _ = measure(project)
    assert {part["column"]: part["sensitive"] for part in metrics["slices"].values()} == {
        "heating": True, "area": False,
    }  # fmt: skip
    assert set(metrics["fairness"]) == {"heating"}


def another_contract(project: Project) -> None:
    """A column that means something else."""
    project.contract.write_text(RENTS_TEXT.replace("Living area", "Total area"))


def altered_bundle(project: Project) -> None:
    """Intervals that were not packaged."""
    (project.bundle / "intervals.json").write_text("{}")


@pytest.mark.parametrize(
    ("plant", "refusal", "found"),
    [
        (another_contract, MlrefError, "another contract .* Run `make train`"),
        (altered_bundle, BundleError, "intervals.json was altered"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_and_the_earlier_metrics_stay(
    plant: Any, refusal: type[MlrefError], found: str, project: Project
) -> None:
    plant(project)
    before = project.metrics.read_bytes()
    with pytest.raises(refusal, match=found):
        evaluate.run(project)
    assert project.metrics.read_bytes() == before
