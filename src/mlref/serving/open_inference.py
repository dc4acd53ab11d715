"""The Open Inference Protocol, version 2, which KServe, Triton, MLServer and their clients speak.

Each column is an input of one dimension; ``value``, ``lower`` and ``upper`` are the outputs. Tensors are
JSON, flat or nested; the binary extension is refused. A fork that has no such clients deletes this file.
"""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Request, Response

from mlref import __version__
from mlref.core.contract import Column
from mlref.core.errors import RowsRefused, Violation
from mlref.serving.errors import ErrorContent, InvalidHeader, NoSuchModel
from mlref.serving.model import Model, Service
from mlref.serving.request import ValidRows, listed, parse, refused, validated
from mlref.serving.schemas import takes

Datatype = Literal[
    "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64",
    "BOOL", "BYTES",
]  # fmt: skip
"""Types of tensors whose values may be those of a column."""

OUTPUTS = ("value", "lower", "upper")

Answer = dict[str, Any]
"""An answer; the protocol's own documents describe it."""


class Tensor(msgspec.Struct):
    """An input: a column. Its parameters mean nothing here."""

    name: str
    datatype: Datatype
    shape: list[int]
    data: list[Any]


class Output(msgspec.Struct):
    """An output that is wanted."""

    name: Literal["value", "lower", "upper"]


class InferRequest(msgspec.Struct):
    """Rows by column, and the wanted outputs: all where none is named."""

    inputs: Annotated[list[Tensor], msgspec.Meta(min_length=1)]
    id: str | None = None
    outputs: list[Output] = []


class InferError(msgspec.Struct):
    """The protocol's own body of an error."""

    error: str


def router(service: Service) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/v2", tags=["open inference"])

    @router.get("")
    async def server() -> Answer:
        """Describe the server."""
        return {"name": "mlref", "version": __version__, "extensions": []}

    @router.get("/health/live")
    async def server_live() -> dict[str, bool]:
        """Say that the process runs."""
        return {"live": True}

    @router.get("/health/ready")
    async def server_ready(response: Response) -> dict[str, bool]:
        """Say whether predictions are answered."""
        if service.draining:
            response.status_code = 503
        return {"ready": not service.draining}

    async def model(name: str, version: str = "") -> Answer:
        """Describe inputs and outputs of the model."""
        model = _find(service, name, version)
        columns = [(one.name, _datatype(one)) for one in model.contract.features]
        inputs, outputs = (
            [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in tensors]
            for tensors in (columns, [(name, "FP64") for name in OUTPUTS])
        )
        about = {"name": name, "versions": [model.version], "platform": "onnx"}
        return {**about, "inputs": inputs, "outputs": outputs}

    async def model_ready(name: str, version: str = "") -> Answer:
        """Say that this is the model in use."""
        _find(service, name, version)
        return {"name": name, "ready": True}

    async def infer(request: Request, name: str, version: str = "") -> Answer:
        """Predict rows: one input for each column, of shape [n] or [n, 1], as JSON."""
        model = _find(service, name, version)
        if "inference-header-content-length" in request.headers:
            raise InvalidHeader(
                "Tensors must come as JSON, not in the binary extension: with tritonclient,"
                " `set_data_from_numpy(…, binary_data=False)`."
            )
        with service.counting(model):
            asked = parse(await request.body(), InferRequest)
            rows = _rows(asked, model)
        _, prediction = service.answer(model, rows, request.state.context)
        wanted = [one.name for one in asked.outputs] or OUTPUTS
        outputs = [
            {"name": name, "datatype": "FP64", "shape": [len(values)], "data": values.tolist()}
            for name, values in prediction._asdict().items()
            if name in wanted
        ]
        head = {"model_name": name, "model_version": model.version}
        return {**head, **({"id": asked.id} if asked.id else {}), "outputs": outputs}

    example = [
        {"name": one.name, "datatype": _datatype(one), "shape": [1], "data": [one.example]}
        for one in service.model.contract.features
    ]
    body = takes("InferRequest", {"inputs": example})
    for path in ("/models/{name}", "/models/{name}/versions/{version}"):
        router.get(path)(model)
        router.get(f"{path}/ready")(model_ready)
        router.post(f"{path}/infer", openapi_extra=body)(infer)
    return router


def error_body(content: ErrorContent) -> InferError:
    """The protocol's own form of an error: one sentence."""
    found = [Violation(one.instance, one.column, one.got, one.allowed) for one in content.details]
    refusal = str(RowsRefused("The request", found)) if found else content.message
    return InferError(" ".join(refusal.split()))


def _datatype(column: Column) -> Datatype:
    if column.type == "boolean":
        return "BOOL"
    return "FP64" if column.is_number else "BYTES"


def _find(service: Service, name: str, version: str) -> Model:
    """The model in use, when it is the one that the path names."""
    model = service.model
    if name != model.contract.name or version not in ("", model.version):
        raise NoSuchModel(
            f"There is only the model {model.contract.name}, version {model.version}."
        )
    return model


def _rows(asked: InferRequest, model: Model) -> ValidRows:
    columns: dict[str, list[Any]] = {}
    for one in asked.inputs:
        cells = listed({one.name: _flat(one.data)}, one.name, model.limits.rows)
        count = len(next(iter(columns.values()), cells))
        if one.name in columns or len(cells) != count or one.shape not in ([count], [count, 1]):
            allowed = "one input a column, of shape [n] or [n, 1], n the same for all"
            raise refused(one.name, f"{len(cells)} values", allowed)
        if "INT" in one.datatype and any(isinstance(cell, float) for cell in cells):
            raise refused(one.name, "a fraction", f"whole numbers, as {one.datatype} says")
        columns[one.name] = cells
    records = [
        dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)
    ]
    return validated(model.contract, records)


def _flat(data: object) -> object:
    """The cells of a tensor that is flat or nested as [n, 1]."""
    if isinstance(data, list) and all(isinstance(one, list) and len(one) == 1 for one in data):
        return [one[0] for one in data]
    return data
