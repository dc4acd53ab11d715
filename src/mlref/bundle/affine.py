"""A model that is affine in the encoded row: scaling and one-hot columns folded into one weight each."""

import math

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import ElasticNet, LinearRegression, Ridge
from sklearn.pipeline import Pipeline

from mlref.core.rows import Array


def fold(model: Pipeline) -> tuple[Array, float] | None:
    """Weights and bias that give the model's value as ``row @ weights + bias``.

    A standardised number is affine in the number, and of two one-hot columns the sum is affine in the
    code 0 or 1. So a linear model of such columns is affine in the encoded row.

    Parameters
    ----------
    model : Pipeline
        Fitted; ``prepare`` is what ``mlref.features.preprocessing`` makes.

    Returns
    -------
    weights, bias : ndarray of float64, shape (features,), and float
        None where the model is not affine: another estimator, a nullable column, a category of more than
        two values.

    Examples
    --------
    >>> from sklearn.preprocessing import StandardScaler
    >>> scaled = Pipeline([("scale", StandardScaler())])
    >>> prepare = ColumnTransformer([("numbers", scaled, [0])])
    >>> model = Pipeline([("prepare", prepare), ("estimate", LinearRegression())])
    >>> rows = np.array([[0.0], [10.0]])
    >>> weights, bias = fold(model.fit(rows, [5.0, 25.0]))
    >>> weights.round(9).tolist(), round(bias, 9)
    ([2.0], 5.0)
    """
    prepare, line = model[0], model[-1]
    linear = isinstance(line, (Ridge, ElasticNet, LinearRegression))
    if not linear or not isinstance(prepare, ColumnTransformer):
        return None
    weights, terms = np.zeros(prepare.n_features_in_), [float(line.intercept_)]
    coefficients = iter(line.coef_.tolist())
    for _, step, places in prepare.transformers_:
        parts = dict(step.steps) if isinstance(step, Pipeline) else {}
        if [*parts] == ["scale"]:
            scaler = parts["scale"]
            for place, mean, scale in zip(places, scaler.mean_, scaler.scale_, strict=True):
                weights[place] = next(coefficients) / scale
                terms.append(-weights[place] * mean)
        elif [*parts] == ["one_hot"] and parts["one_hot"].categories_[0].tolist() == [0.0, 1.0]:
            without, with_ = next(coefficients), next(coefficients)
            weights[places[0]] = with_ - without
            terms.append(without)
        else:
            return None
    return weights, math.fsum(terms)


def graph(weights: Array, bias: float) -> bytes:
    """The ONNX model of it; ``rows``, shape (n, features), to ``value``, shape (n, 1), in float64."""
    width = len(weights)
    node = helper.make_node("Gemm", ["rows", "weights", "bias"], ["value"])
    constants = [
        numpy_helper.from_array(weights.reshape(-1, 1), "weights"),
        numpy_helper.from_array(np.array([bias]), "bias"),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None, columns])
        for name, columns in (("rows", width), ("value", 1))
    ]
    made = helper.make_graph([node], "model", ends[:1], ends[1:], constants)
    opset = helper.make_opsetid("", 18)
    proto = helper.make_model(made, opset_imports=[opset], ir_version=8)
    return proto.SerializeToString(deterministic=True)
