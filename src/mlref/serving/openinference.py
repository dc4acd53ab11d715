"""The Open Inference Protocol, version 2, over REST: what KServe, Triton, MLServer and their clients speak.

Each column is an input of one dimension; ``value``, ``lower`` and ``upper`` are the outputs. Tensors come as
JSON, flat or nested; the binary extension is not spoken.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI, Request, Response

from mlref import __version__
from mlref.core.errors import RowsRefused
from mlref.serving.boundary import InvalidHeader, NoSuchModel, Refusal, dumps
from mlref.serving.decode import decode, envelope, judged, kind, listed, refusal
from mlref.serving.protocols import DATATYPES, OUTPUTS, datatype
from mlref.serving.routes import add, answer
from mlref.serving.service import Model, Service


def add_routes(app: FastAPI, service: Service) -> None:
    """Add the protocol's addresses to the application."""

    async def server(request: Request) -> Response:
        """Name the server and its version."""
        return answer({"name": "mlref", "version": __version__, "extensions": []})

    async def live(request: Request) -> Response:
        """Say that the process runs."""
        return answer({"live": True})

    async def ready(request: Request) -> Response:
        """Say that predictions are answered."""
        return answer({"ready": not service.draining}, 503 if service.draining else 200)

    async def model(request: Request) -> Response:
        """Describe the model."""
        return answer(metadata(_asked_model(service, request)))

    async def model_ready(request: Request) -> Response:
        """Say that the model is the one in use."""
        _asked_model(service, request)
        return answer({"name": request.path_params["name"], "ready": True})

    async def infer(request: Request) -> Response:
        """Predict rows."""
        return Response(
            _infer(service, request, await request.body()), media_type="application/json"
        )

    add(app, "GET", "/v2", server)
    add(app, "GET", "/v2/health/live", live)
    add(app, "GET", "/v2/health/ready", ready)
    for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        add(app, "GET", path, model)
        add(app, "GET", f"{path}/ready", model_ready)
        add(app, "POST", f"{path}/infer", infer)


def error_body(path: str, refusal: Refusal) -> bytes | None:
    """The protocol's own form of an error, for its own paths: one sentence."""
    if path != "/v2" and not path.startswith("/v2/"):
        return None
    message = refusal.message
    if refusal.violations:
        message = " ".join(str(RowsRefused("The request", refusal.violations)).split())
    return dumps({"error": message})


def metadata(model: Model) -> dict[str, Any]:
    """Inputs and outputs of the model, as its clients ask for them."""
    inputs = [
        {"name": column.name, "datatype": datatype(column), "shape": [-1]}
        for column in model.contract.features
    ]
    outputs = [{"name": name, "datatype": "FP64", "shape": [-1]} for name in OUTPUTS]
    return {
        "name": model.contract.name,
        "versions": [model.version],
        "platform": "onnx",
        "inputs": inputs,
        "outputs": outputs,
    }


def _infer(service: Service, request: Request, body: bytes) -> bytes:
    model = _asked_model(service, request)
    if "inference-header-content-length" in request.headers:
        raise InvalidHeader(
            "Tensors must come as JSON, not in the binary extension: with tritonclient,"
            " `set_data_from_numpy(…, binary_data=False)`."
        )
    asked = _object(decode(body), ("inputs",), ("id", "outputs"))
    if not isinstance(asked.get("id", ""), str):
        raise refusal("id", kind(asked["id"]), "text")
    wanted = list(_wanted(asked.get("outputs", [])))
    columns = dict(_columns(asked["inputs"], model))
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    _, prediction = service.score(
        model, judged(model.contract, rows), request.scope["state"]["asked"]
    )
    outputs = [
        {"name": name, "datatype": "FP64", "shape": [len(array)], "data": array.tolist()}
        for name, array in prediction._asdict().items()
        if name in wanted
    ]
    head = {"model_name": model.contract.name, "model_version": model.version}
    return dumps({**head, **({"id": asked["id"]} if "id" in asked else {}), "outputs": outputs})


def _columns(inputs: object, model: Model) -> Iterator[tuple[str, list[object]]]:
    """Each input's name and its cells, as many for all."""
    length = 0
    names: set[str] = set()
    for tensor in listed(inputs, "inputs", 10 * len(model.contract.names)):
        parts = _object(tensor, ("name", "shape", "datatype", "data"))
        name, shape = parts["name"], parts["shape"]
        if not isinstance(name, str) or name in names:
            raise refusal("name", kind(name), "text, once for each input")
        names.add(name)
        if parts["datatype"] not in DATATYPES:
            raise refusal("datatype", kind(parts["datatype"]), ", ".join(DATATYPES))
        cells = listed(_flat(parts["data"]), name, model.limits.rows)
        length = length or len(cells)
        if shape not in ([length], [length, 1]) or len(cells) != length:
            raise refusal(
                name, f"{len(cells)} values", "shape [n] or [n, 1], n the same for all inputs"
            )
        yield name, cells
    if missing := [name for name in model.contract.names if name not in names]:
        raise refusal(missing[0], "nothing", "an input for each column")


def _object(
    value: object, needed: tuple[str, ...], also: tuple[str, ...] = ()
) -> dict[str, object]:
    """An object of the protocol; each may have parameters, and none of them means anything here."""
    parts = envelope(value, needed, (*also, "parameters"))
    if not isinstance(parts.get("parameters", {}), dict):
        raise refusal("parameters", kind(parts["parameters"]), "an object")
    return parts


def _flat(data: object) -> object:
    """The cells of a tensor that is flat or nested as [n, 1]."""
    if isinstance(data, list) and all(isinstance(row, list) and len(row) == 1 for row in data):
        return [row[0] for row in data]
    return data


def _wanted(outputs: object) -> Iterator[str]:
    """Names of the outputs that are asked for; all where none is."""
    if outputs == []:
        yield from OUTPUTS
        return
    for output in listed(outputs, "outputs", len(OUTPUTS)):
        name = _object(output, ("name",))["name"]
        if name not in OUTPUTS:
            raise refusal("outputs", kind(name), ", ".join(OUTPUTS))
        yield str(name)


def _asked_model(service: Service, request: Request) -> Model:
    """The model in use, when it is the one that the path names."""
    model, path = service.model, request.path_params
    if path["name"] != model.contract.name or path.get("version", model.version) != model.version:
        raise NoSuchModel(
            f"There is only the model {model.contract.name}, version {model.version}."
        )
    return model
