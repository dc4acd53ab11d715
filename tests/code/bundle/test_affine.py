"""Folding a model that is affine in the encoded row into weights and a bias."""

import numpy as np
import onnx
import pytest
import yaml
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline

from mlref.bundle.affine import fold
from mlref.bundle.convert import convert
from mlref.core.contract import Contract, parse
from mlref.core.rows import generate
from mlref.features import preprocessing
from mlref.training.candidates import ESTIMATORS, build
from tests.code.bundle.test_package import TREES
from tests.fakes import CONTRACT_TEXT, linear

FOLDED = ("ridge", "elastic_net")


def contract(**changes: dict[str, object]) -> Contract:
    """The rents with two ways of heating and a balcony that is never null, but for changes of a column."""
    document = yaml.safe_load(CONTRACT_TEXT)
    columns = {column["name"]: column for column in document["features"]}
    columns["heating"].update(allowed=["gas", "oil"], example="gas")
    columns["balcony"].pop("nullable")
    for name, change in changes.items():
        columns[name].update(change)
    return parse(yaml.safe_dump(document))


AFFINE = contract()
ROWS = generate(AFFINE, 100, seed=1)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_linear_models_of_scaled_numbers_and_two_categories_are_folded_and_no_others(
    name: str,
) -> None:
    """The weights give what scikit-learn does, on rows that it was not fitted on."""
    model = build(AFFINE, name, TREES.get(name, {}), 0).fit(ROWS, linear(ROWS))
    folded = fold(model)
    assert (folded is not None) == (name in FOLDED)
    if folded:
        weights, bias = folded
        unseen = generate(AFFINE, 500, seed=2)
        assert np.allclose(unseen @ weights + bias, model.predict(unseen), rtol=1e-12)
        graph = onnx.load_from_string(convert(model, 4)).graph
        assert [node.op_type for node in graph.node] == ["Gemm"]


@pytest.mark.parametrize(
    "change",
    [
        {"balcony": {"nullable": True}},
        {"heating": {"nullable": True}},
        {"heating": {"allowed": ["gas", "oil", "wood"]}},
    ],
    ids=["null number", "null category", "three categories"],
)
def test_columns_without_one_weight_are_not_folded(change: dict[str, dict[str, object]]) -> None:
    """A null jumps to the mean, and three codes lie on no line."""
    known = contract(**change)
    rows = generate(known, 100, seed=1)
    assert fold(build(known, "ridge", {}, 0).fit(rows, linear(rows))) is None


def test_columns_that_are_passed_through_are_not_folded() -> None:
    """As trees get them: a line of those has another preprocessing than ours."""
    prepare = preprocessing(AFFINE, scale=False)
    model = Pipeline([("prepare", prepare), ("estimate", LinearRegression())])
    assert fold(model.fit(ROWS, linear(ROWS))) is None
