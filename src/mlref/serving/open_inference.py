"""The Open Inference Protocol, version 2, which KServe, Triton, MLServer and their clients speak.

Each column is an input of one dimension; ``value``, ``lower`` and ``upper`` are the outputs. Tensors are
JSON, flat or nested; the binary extension is refused. A fork that has no such clients deletes this file.
"""

from collections.abc import Iterator

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from mlref import __version__
from mlref.core.contract import Column
from mlref.core.errors import RowsRefused
from mlref.core.rows import ValidationResult
from mlref.serving.errors import InvalidHeader, NoSuchModel, Refusal
from mlref.serving.model import Model, Service
from mlref.serving.request import decode, fields, is_text, items, kind, refused, validated
from mlref.serving.schemas import Json, takes

INTEGERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
DATATYPES = (*INTEGERS, "FP16", "FP32", "FP64", "BYTES")
"""Types of tensors whose values may be those of a column."""

OUTPUTS = ("value", "lower", "upper")


class Tensor(BaseModel):
    """An input or output of the model; only outputs of an answer have data."""

    name: str
    datatype: str
    shape: list[int]
    data: list[float] | None = None


class Metadata(BaseModel):
    """Inputs and outputs of the model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class InferResponse(BaseModel):
    """Predictions: a tensor each for value, lower and upper end of the interval."""

    model_config = ConfigDict(protected_namespaces=())
    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[Tensor]


class InferError(BaseModel):
    """The protocol's own body of an error."""

    error: str


def router(service: Service) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/v2", tags=["open inference"])

    @router.get("")
    async def server() -> dict[str, str | list[str]]:
        """Describe the server."""
        return {"name": "mlref", "version": __version__, "extensions": []}

    @router.get("/health/live")
    async def server_live() -> dict[str, bool]:
        """Say that the process runs."""
        return {"live": True}

    @router.get("/health/ready", responses={503: {"model": dict[str, bool]}})
    async def server_ready(response: Response) -> dict[str, bool]:
        """Say whether predictions are answered."""
        if service.draining:
            response.status_code = 503
        return {"ready": not service.draining}

    async def model(name: str, version: str = "") -> Metadata:
        """Describe inputs and outputs of the model."""
        return metadata(_find(service, name, version))

    async def model_ready(name: str, version: str = "") -> dict[str, str | bool]:
        """Say that this is the model in use."""
        _find(service, name, version)
        return {"name": name, "ready": True}

    async def infer(request: Request, name: str, version: str = "") -> Response:
        """Predict rows: one input for each column, of shape [n] or [n, 1], as JSON."""
        model = _find(service, name, version)
        if "inference-header-content-length" in request.headers:
            raise InvalidHeader(
                "Tensors must come as JSON, not in the binary extension: with tritonclient,"
                " `set_data_from_numpy(…, binary_data=False)`."
            )
        asked: Json = {}
        body = await request.body()
        _, prediction, _ = service.answer(
            model, lambda: _read(model, body, asked), request.state.context
        )
        outputs = [
            {"name": one, "datatype": "FP64", "shape": [len(array)], "data": array.tolist()}
            for one, array in prediction._asdict().items()
            if one in asked["outputs"]
        ]
        head = {"model_name": model.contract.name, "model_version": model.version}
        content = msgspec.json.encode({**head, **asked["id"], "outputs": outputs})
        return Response(content, media_type="application/json")

    example = [
        {"name": one.name, "datatype": datatype(one), "shape": [1], "data": [one.example]}
        for one in service.model.contract.features
    ]
    body = takes({"type": "object", "examples": [{"inputs": example}]})
    for path in ("/models/{name}", "/models/{name}/versions/{version}"):
        router.get(path, response_model_exclude_none=True)(model)
        router.get(f"{path}/ready")(model_ready)
        router.post(f"{path}/infer", response_model=InferResponse, openapi_extra=body)(infer)
    return router


def error_body(refusal: Refusal) -> Json:
    """The protocol's own form of an error: one sentence."""
    message = refusal.message
    if refusal.violations:
        message = " ".join(str(RowsRefused("The request", refusal.violations)).split())
    return {"error": message}


def metadata(model: Model) -> Metadata:
    """Inputs and outputs of the model, as its clients ask for them."""
    columns = [(one.name, datatype(one)) for one in model.contract.features]
    inputs, outputs = (
        [Tensor(name=name, datatype=kind, shape=[-1]) for name, kind in tensors]
        for tensors in (columns, [(name, "FP64") for name in OUTPUTS])
    )
    return Metadata(
        name=model.contract.name, versions=[model.version], platform="onnx", inputs=inputs,
        outputs=outputs,
    )  # fmt: skip


def datatype(column: Column) -> str:
    """The protocol's name of a column's type."""
    return "BYTES" if is_text(column) else "FP64"


def _find(service: Service, name: str, version: str) -> Model:
    """The model in use, when it is the one that the path names."""
    model = service.model
    if name != model.contract.name or version not in ("", model.version):
        raise NoSuchModel(
            f"There is only the model {model.contract.name}, version {model.version}."
        )
    return model


def _read(model: Model, body: bytes, asked: Json) -> ValidationResult:
    """Read the rows; id and names of the wanted outputs are noted in ``asked``."""
    parts = _object(decode(body), ("inputs",), ("id", "outputs"))
    if not isinstance(parts.get("id", ""), str):
        raise refused("id", kind(parts["id"]), "text")
    asked["id"] = {"id": parts["id"]} if "id" in parts else {}
    asked["outputs"] = list(_wanted(parts.get("outputs", [])))
    columns = dict(_columns(parts["inputs"], model))
    records = [
        dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)
    ]
    return validated(model.contract, records)


def _columns(inputs: object, model: Model) -> Iterator[tuple[str, list[object]]]:
    """Each input's name and its cells, equally many for all."""
    length = 0
    names: set[str] = set()
    for tensor in items(inputs, "inputs", 10 * len(model.contract.names)):
        parts = _object(tensor, ("name", "shape", "datatype", "data"))
        name, shape, type_ = parts["name"], parts["shape"], parts["datatype"]
        if not isinstance(name, str) or name in names:
            raise refused("name", kind(name), "text, once for each input")
        names.add(name)
        if type_ not in DATATYPES:
            raise refused("datatype", kind(type_), ", ".join(DATATYPES))
        cells = items(_flat(parts["data"]), name, model.limits.rows)
        length = length or len(cells)
        whole = isinstance(shape, list) and all(type(size) is int for size in shape)
        if not whole or shape not in ([length], [length, 1]) or len(cells) != length:
            allowed = "shape [n] or [n, 1], n the same for all inputs"
            raise refused(name, f"{len(cells)} values", allowed)
        if type_ in INTEGERS and any(isinstance(cell, float) for cell in cells):
            raise refused(name, "a fraction", f"whole numbers, as the datatype {type_} says")
        yield name, cells
    if missing := [name for name in model.contract.names if name not in names]:
        raise refused(missing[0], "nothing", "an input for each column")


def _object(value: object, needed: tuple[str, ...], also: tuple[str, ...] = ()) -> Json:
    """An object of the protocol; each may have parameters, which mean nothing here."""
    parts = fields(value, needed, (*also, "parameters"))
    if not isinstance(parts.get("parameters", {}), dict):
        raise refused("parameters", kind(parts["parameters"]), "an object")
    return parts


def _flat(data: object) -> object:
    """The cells of a tensor that is flat or nested as [n, 1]."""
    if isinstance(data, list) and all(isinstance(one, list) and len(one) == 1 for one in data):
        return [one[0] for one in data]
    return data


def _wanted(outputs: object) -> Iterator[str]:
    """Names of the outputs that are asked for; all where none is."""
    if outputs == []:
        yield from OUTPUTS
        return
    for output in items(outputs, "outputs", len(OUTPUTS)):
        name = _object(output, ("name",))["name"]
        if name not in OUTPUTS:
            raise refused("outputs", kind(name), ", ".join(OUTPUTS))
        yield str(name)
