"""Convert a fitted Pipeline to ONNX."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from skl2onnx import supported_converters, to_onnx, update_registered_converter
from skl2onnx.algebra import onnx_ops as ops
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, guess_numpy_type
from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator
from skl2onnx.operator_converters.random_forest import (
    convert_sklearn_random_forest_regressor_converter as convert_trees,
)
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import TargetEncoder
from sklearn.utils import all_estimators

from mlref.bundle.affine import fold, graph
from mlref.core.errors import BundleError
from mlref.training.candidates import TREES, LogTarget

OPSET = {"": 18, "ai.onnx.ml": 3}


def convert(model: Pipeline, width: int) -> bytes:
    """Convert a fitted Pipeline to ONNX: an affine one to a matrix product, any other step by step.

    The graph takes ``rows``, float64 of shape (n, width), and gives ``value``, float64 of shape (n, 1).
    Trees compute in float32, as their converter knows nothing else; everything else in float64.

    Raises
    ------
    BundleError
        For an estimator without a converter; the message lists those that have one.
    """
    last = model[-1]
    if isinstance(last, LogTarget):
        logs = Pipeline([*model.steps[:-1], ("estimate", last.regressor_)])
        return _exponential(convert(logs, width), *last.range_)
    if affine := fold(model):
        return graph(*affine)
    trees = isinstance(model[-1], TREES)
    kind = FloatTensorType if trees else DoubleTensorType
    for estimator, columns, converter in CONVERTERS:
        update_registered_converter(
            estimator, f"Mlref{estimator.__name__}", _shape(columns), converter, overwrite=True
        )
    try:
        proto = to_onnx(model, initial_types=[("rows", kind([None, width]))], target_opset=OPSET)
    except (MissingConverter, MissingShapeCalculator, ValueError) as error:
        named = re.search(r"<class '[\w.]*\.(\w+)'>", str(error))
        culprit = named[1] if named else type(model[-1]).__name__
        real = {name for name, _ in all_estimators(type_filter="regressor")}
        names = {name.removeprefix("Sklearn") for name in supported_converters()} & real - {culprit}
        raise BundleError(
            f"{culprit} cannot be converted to ONNX. Regressors that can: LinearRegression, Ridge,"
            f" Lasso, ElasticNet, {', '.join(sorted(names))}."
        ) from error
    return _canonical(proto, trees, width)


def _exponential(logs: bytes, low: float, high: float) -> bytes:
    """A graph that gives the exponential of another's clipped value."""
    proto = ModelProto.FromString(logs)
    for node in proto.graph.node:
        node.output[:] = ["log" if name == "value" else name for name in node.output]
    ends = {"low": np.array(low), "high": np.array(high)}
    proto.graph.initializer.extend(numpy_helper.from_array(end, name) for name, end in ends.items())
    proto.graph.node.append(helper.make_node("Clip", ["log", *ends], ["clipped"]))
    proto.graph.node.append(helper.make_node("Exp", ["clipped"], ["value"]))
    return proto.SerializeToString(deterministic=True)


def _canonical(proto: ModelProto, trees: bool, width: int) -> bytes:
    """Give the graph its fixed names and types, and drop what is not the model."""
    graph, produced = proto.graph, proto.graph.output[0].name
    if trees:
        for node in graph.node:
            node.input[:] = ["rows_float" if name == "rows" else name for name in node.input]
        cast = helper.make_node("Cast", ["rows"], ["rows_float"], to=TensorProto.FLOAT)
        graph.node.insert(0, cast)
    graph.node.append(helper.make_node("Cast", [produced], ["value"], to=TensorProto.DOUBLE))
    del graph.input[:], graph.output[:]
    graph.input.append(helper.make_tensor_value_info("rows", TensorProto.DOUBLE, [None, width]))
    graph.output.append(helper.make_tensor_value_info("value", TensorProto.DOUBLE, [None, 1]))
    opsets = sorted(proto.opset_import, key=lambda opset: str(opset.domain))  # comes out of a set
    del proto.opset_import[:]
    proto.opset_import.extend(opsets)
    graph.name, proto.producer_name, proto.producer_version = "model", "", ""
    proto.ir_version = 8
    return proto.SerializeToString(deterministic=True)


def _shape(columns: Callable[[Any], int]) -> Callable[[Any], None]:
    """Tell skl2onnx how many columns an estimator gives; their type is that of its input."""

    def _calculate(operator: Any) -> None:
        given = operator.inputs[0].type
        operator.outputs[0].type = type(given)([None, columns(operator.raw_operator)])

    return _calculate


def _select(scope: Any, operator: Any, container: Any) -> None:
    """The built-in converter takes a choice of column 0 alone for no choice at all."""
    index = operator.raw_operator.get_support(indices=True).astype(np.int64)
    ops.OnnxGather(
        operator.inputs[0], index, axis=1, op_version=container.target_opset,
        output_names=operator.outputs[:1],
    ).add_to(scope, container)  # fmt: skip


def _impute(scope: Any, operator: Any, container: Any) -> None:
    """Where(IsNaN(x), statistic, x): the built-in converter has no float64 kernel to run on."""
    x, opset = operator.inputs[0], container.target_opset
    fill = operator.raw_operator.statistics_.astype(guess_numpy_type(x.type))
    null = ops.OnnxIsNaN(x, op_version=opset)
    node = ops.OnnxWhere(null, fill, x, op_version=opset, output_names=operator.outputs[:1])
    node.add_to(scope, container)


def _constant(scope: Any, operator: Any, container: Any) -> None:
    """X · 0 + constant, which keeps the number of rows."""
    x, opset = operator.inputs[0], container.target_opset
    kind = guess_numpy_type(x.type)
    zeros = np.zeros((operator.raw_operator.n_features_in_, 1), kind)
    value = operator.raw_operator.constant_.astype(kind).reshape(1, 1)
    flat = ops.OnnxMatMul(x, zeros, op_version=opset)
    node = ops.OnnxAdd(flat, value, op_version=opset, output_names=operator.outputs[:1])
    node.add_to(scope, container)


def _mean(scope: Any, operator: Any, container: Any) -> None:
    """Look the mean up by its code. Null, which is -1, is the last: the first of a nullable column."""
    encoder, x, opset = operator.raw_operator, operator.inputs[0], container.target_opset
    nulls = int((encoder.categories_[0] < 0).sum())
    means = np.roll(encoder.encodings_[0], -nulls).astype(guess_numpy_type(x.type))
    code = ops.OnnxCast(x, to=TensorProto.INT64, op_version=opset)
    node = ops.OnnxGather(means, code, op_version=opset, output_names=operator.outputs[:1])
    node.add_to(scope, container)


class _PlainIntegers:
    """A container whose nodes take numpy's integers, which skl2onnx 1.20 hands to ONNX as they are."""

    def __init__(self, container: Any) -> None:
        self.container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self.container, name)

    def add_node(self, *given: Any, **attributes: Any) -> None:
        whole = (np.integer, bool)
        for name, values in attributes.items():
            if isinstance(values, list):
                attributes[name] = [int(v) if isinstance(v, whole) else v for v in values]
        self.container.add_node(*given, **attributes)


def _histogram_trees(scope: Any, operator: Any, container: Any) -> None:
    convert_trees(scope, operator, _PlainIntegers(container), op_version=3)


CONVERTERS: list[tuple[Any, Callable[[Any], int], Callable[[Any, Any, Any], None]]] = [
    (SimpleImputer, lambda imputer: len(imputer.statistics_), _impute),
    (SelectKBest, lambda select: int(select.get_support().sum()), _select),
    (DummyRegressor, lambda dummy: 1, _constant),
    (TargetEncoder, lambda encoder: 1, _mean),
    (HistGradientBoostingRegressor, lambda trees: 1, _histogram_trees),
]
"""Estimators that skl2onnx 1.20 converts wrongly or not at all: columns that they give, converter."""
