"""Stage 6: turn the fitted Pipeline into a bundle, and measure that both predict the same."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import skops.io
from onnx import ModelProto, TensorProto, helper
from skl2onnx import supported_converters, to_onnx, update_registered_converter
from skl2onnx.algebra.onnx_ops import OnnxAdd, OnnxGather, OnnxIsNaN, OnnxMatMul, OnnxWhere
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, guess_numpy_type
from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator
from sklearn.dummy import DummyRegressor
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.utils import all_estimators
from skops.io.exceptions import UntrustedTypesFoundException

from mlref.bundle.affine import fold, graph
from mlref.bundle.predictor import FILES, MANIFEST, Predictor
from mlref.core import settings
from mlref.core.contract import Contract, load
from mlref.core.errors import BundleError
from mlref.core.rows import Array, generate
from mlref.core.storage import Project, digest, read_json, replacing, to_json
from mlref.data.tables import encode, read_parquet
from mlref.training.candidates import TREES

OPSET = {"": 18, "ai.onnx.ml": 3}
TRUSTED = [
    "numpy.dtype",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.tree._tree.Tree",
]
"""Types of our own estimators that skops does not trust by itself; nothing else is loaded."""


def convert(model: Pipeline, width: int) -> bytes:
    """Convert a fitted Pipeline to ONNX: an affine one to a matrix product, any other step by step.

    The graph takes ``rows``, float64 of shape (n, width), and gives ``value``, float64 of shape (n, 1).
    Trees compute in float32, as their converter knows nothing else; everything else in float64.

    Raises
    ------
    BundleError
        For an estimator without a converter; the message lists those that have one.
    """
    if affine := fold(model):
        return graph(*affine)
    trees = isinstance(model[-1], TREES)
    kind = FloatTensorType if trees else DoubleTensorType
    try:
        with_converters()
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


def _canonical(proto: ModelProto, trees: bool, width: int) -> bytes:
    """Give the graph its fixed names and types, and drop what is not the model."""
    graph, produced = proto.graph, proto.graph.output[0].name
    if trees:
        for node in graph.node:
            node.input[:] = ["rows_float" if name == "rows" else name for name in node.input]
        graph.node.insert(
            0, helper.make_node("Cast", ["rows"], ["rows_float"], to=TensorProto.FLOAT)
        )
    graph.node.append(helper.make_node("Cast", [produced], ["value"], to=TensorProto.DOUBLE))
    del graph.input[:], graph.output[:]
    graph.input.append(helper.make_tensor_value_info("rows", TensorProto.DOUBLE, [None, width]))
    graph.output.append(helper.make_tensor_value_info("value", TensorProto.DOUBLE, [None, 1]))
    opsets = sorted(proto.opset_import, key=lambda opset: str(opset.domain))  # comes out of a set
    del proto.opset_import[:]
    proto.opset_import.extend(opsets)
    graph.name, proto.producer_name, proto.producer_version = "model", "", ""
    proto.ir_version = 8
    return proto.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def with_converters() -> None:
    """Teach skl2onnx 1.20 two converters that it lacks."""
    update_registered_converter(
        SimpleImputer, "MlrefImputer", _same_columns, _impute, overwrite=True
    )
    update_registered_converter(SelectKBest, "MlrefSelect", _k_columns, _select, overwrite=True)
    update_registered_converter(
        DummyRegressor, "MlrefConstant", _one_column, _constant, overwrite=True
    )


def _k_columns(operator: Any) -> None:
    count = int(operator.raw_operator.get_support().sum())
    operator.outputs[0].type = type(operator.inputs[0].type)([None, count])


def _select(scope: Any, operator: Any, container: Any) -> None:
    """The built-in converter takes a choice of column 0 alone for no choice at all."""
    index = operator.raw_operator.get_support(indices=True).astype(np.int64)
    node = OnnxGather(
        operator.inputs[0],
        index,
        axis=1,
        op_version=container.target_opset,
        output_names=operator.outputs[:1],
    )
    node.add_to(scope, container)


def _same_columns(operator: Any) -> None:
    given = operator.inputs[0].type
    operator.outputs[0].type = type(given)([None, len(operator.raw_operator.statistics_)])


def _one_column(operator: Any) -> None:
    operator.outputs[0].type = type(operator.inputs[0].type)([None, 1])


def _impute(scope: Any, operator: Any, container: Any) -> None:
    """Where(IsNaN(x), statistic, x): the built-in converter has no float64 kernel to run on."""
    x, opset = operator.inputs[0], container.target_opset
    fill = operator.raw_operator.statistics_.astype(guess_numpy_type(x.type))
    null = OnnxIsNaN(x, op_version=opset)
    node = OnnxWhere(null, fill, x, op_version=opset, output_names=operator.outputs[:1])
    node.add_to(scope, container)


def _constant(scope: Any, operator: Any, container: Any) -> None:
    """X · 0 + constant, which keeps the number of rows."""
    x, opset = operator.inputs[0], container.target_opset
    kind = guess_numpy_type(x.type)
    zeros = np.zeros((operator.raw_operator.n_features_in_, 1), kind)
    value = operator.raw_operator.constant_.astype(kind).reshape(1, 1)
    flat = OnnxMatMul(x, zeros, op_version=opset)
    node = OnnxAdd(flat, value, op_version=opset, output_names=operator.outputs[:1])
    node.add_to(scope, container)


def parity(
    predict: Callable[[Array], Array], reference: Callable[[Array], Array], rows: Array
) -> float:
    """Largest absolute difference between two models on the same rows; NaN counts as infinite."""
    off = np.abs(predict(rows) - reference(rows)).max()
    return float("inf") if np.isnan(off) else float(off)


def _golden(
    contract: Contract, onnx_rows: Array, values: Array, tolerance: float
) -> dict[str, Any]:
    cells = [[None if np.isnan(cell) else cell for cell in row] for row in onnx_rows.tolist()]
    return {"rows": cells, "values": values.tolist(), "tolerance": tolerance}


def run(project: Project) -> str:
    """Package the trained model of this clone."""
    contract, knobs = load(project.contract), settings.load(project.params).package
    try:
        model = skops.io.load(project.model, trusted=TRUSTED)
    except UntrustedTypesFoundException as error:
        raise BundleError(
            f"The fitted model holds types that are not known to be safe: {error}. Leave them out, or add"
            " them to TRUSTED in bundle/package.py."
        ) from error
    onnx = convert(model, len(contract.features))
    lo, hi = contract.target.valid or (0.0, 1.0)
    tolerance = knobs.tolerance * (hi - lo)
    golden_rows = generate(contract, knobs.golden_rows, knobs.seed)
    contents = {
        "model.onnx": onnx,
        "contract.yaml": project.contract.read_bytes(),
        "profile.json": project.profile.read_bytes(),
        "intervals.json": project.intervals.read_bytes(),
        "golden.json": to_json(
            _golden(contract, golden_rows, model.predict(golden_rows), tolerance), digits=9
        ),
    }
    digests = {name: digest(contents[name]) for name in FILES}
    contents[MANIFEST] = to_json({
        "files": digests, "contract": digests["contract.yaml"], "data": read_json(project.profile)["data"],
    })  # fmt: skip
    with replacing(project.bundle) as fresh:
        fresh.mkdir()
        for name, content in contents.items():
            (fresh / name).write_bytes(content)
        rows = np.vstack([
            encode(contract, read_parquet(project.validated))[0],
            generate(contract, knobs.generated_rows, knobs.seed + 1),
        ])  # fmt: skip
        predictor = Predictor(fresh)
        off = parity(predictor.values, model.predict, rows)
        if off > tolerance:
            raise BundleError(
                f"model.onnx differs from the scikit-learn model by up to {off:.3g} over {len(rows)}"
                f" rows; allowed: {tolerance:.3g} (package.tolerance). Trees belong in"
                " training.candidates.TREES, which leaves their columns unscaled."
            )
    return f"bundle {predictor.digest[:12]}; differs from scikit-learn by {off:.1e} over {len(rows)} rows"
