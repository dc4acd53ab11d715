"""What the trained model of this repository must do, whatever its figures; through its bundle."""

import numpy as np
import pytest

from mlref.bundle.predictor import Predictor
from mlref.core.contract import load
from mlref.core.rows import Array, generate, validate_records
from mlref.core.storage import Project, read_json
from mlref.core.task import task_of
from mlref.data.tables import encode, read_parquet
from mlref.evaluation.behaviour import check
from mlref.registry.register import decision

pytestmark = pytest.mark.xdist_group("real")  # one worker trains for all


@pytest.fixture(scope="module")
def predictor(real: Project) -> Predictor:
    """The bundle of the real dataset."""
    return Predictor(real.bundle)


@pytest.fixture(scope="module")
def rows(real: Project) -> Array:
    """All real rows, encoded."""
    return encode(load(real.contract), read_parquet(real.validated))[0]


def test_the_promises_of_the_contract_hold_on_all_rows(predictor: Predictor, rows: Array) -> None:
    found = check(predictor.contract, predictor.values, rows)
    assert len(found) == len(predictor.contract.promises)
    assert [promise["promise"] for promise in found if not promise["passed"]] == []


def test_the_gate_would_promote_it(real: Project) -> None:
    gate = decision(real)
    assert gate["verdict"] == "promote", gate["reasons"]


def test_the_order_of_the_rows_does_not_matter(predictor: Predictor, rows: Array) -> None:
    order = np.random.default_rng(0).permutation(len(rows))
    assert predictor.values(rows[order]).tolist() == predictor.values(rows)[order].tolist()


@pytest.mark.parametrize("size", [1, 7, 100])
def test_batches_do_not_matter(predictor: Predictor, rows: Array, size: int) -> None:
    batches = [predictor.values(rows[start : start + size]) for start in range(0, len(rows), size)]
    assert np.concatenate(batches) == pytest.approx(predictor.values(rows), rel=1e-9)


def test_the_example_is_usual_and_has_an_interval(predictor: Predictor) -> None:
    verdict = validate_records(predictor.contract, [predictor.contract.example])
    assert verdict.refused == verdict.unusual == []
    value, lower, upper = (float(figure[0]) for figure in predictor.predict(verdict.array))
    assert lower < value < upper


def test_every_row_that_the_contract_accepts_gets_a_finite_value(predictor: Predictor) -> None:
    value, lower, upper = predictor.predict(generate(predictor.contract, 2000, seed=3))
    assert np.isfinite([value, lower, upper]).all()


def test_the_intervals_hold_about_what_they_promise(real: Project) -> None:
    coverage = read_json(real.metrics)["coverage"]
    assert coverage["lower"] <= coverage["promised"] <= coverage["upper"]


def test_the_model_knows_more_than_noise(real: Project) -> None:
    """On the test set the interval of its score excludes that of the mean."""
    metrics, contract = read_json(real.metrics), load(real.contract)
    primary = task_of(contract).primary
    mean = metrics["baselines"]["mean"][primary]["value"]
    assert metrics[primary]["upper"] < mean
    if contract.target.transform == "none":  # the plain error of a logarithm is not what is learned
        assert metrics["r2"]["lower"] > 0


def test_a_null_is_answered_where_the_contract_allows_it(trained: Project) -> None:
    """As a value near that of the training mean, not as an error."""
    predictor = Predictor(trained.bundle)
    examples = [predictor.contract.example | {"balcony": cell} for cell in (None, 0, 20)]
    verdict = validate_records(predictor.contract, examples)
    assert verdict.refused == []
    null, low, high = predictor.predict(verdict.array).value
    assert min(low, high) <= null <= max(low, high)


def test_a_null_is_refused_where_the_contract_does_not_allow_it(predictor: Predictor) -> None:
    for column in predictor.contract.features:
        example = predictor.contract.example | {column.name: None}
        refused = validate_records(predictor.contract, [example]).refused
        found = [(violation.column, violation.got) for violation in refused]
        assert found == ([] if column.nullable else [(column.name, "null")])
