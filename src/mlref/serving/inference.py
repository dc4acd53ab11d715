"""The Open Inference Protocol, version 2, over REST: one input a column, three outputs.

See "Open Inference Protocol" of the KServe project. Tensors travel as JSON, not as bytes.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from mlref import __version__
from mlref.contract import Column, Contract
from mlref.errors import Finding, RowsRefused
from mlref.rows import Verdict
from mlref.serving.decode import judged, parse
from mlref.serving.model import Served
from mlref.serving.score import Result

OUTPUTS = ("value", "lower", "upper")
SERVER = {"name": "mlref", "version": __version__, "extensions": []}
_TENSOR = "an object with name, shape, datatype and data, whose numbers fit the shape"


def read(contract: Contract, body: bytes) -> tuple[Verdict, dict[str, Any]]:
    """Decode a request and judge its rows.

    Returns
    -------
    tuple of Verdict and dict
        The rows, and the request itself, whose id and outputs the answer needs.

    Raises
    ------
    InvalidJson, RowsRefused
        As for /v1/predict.
    """
    request = parse(body)
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), list):
        raise _refusal("inputs", "a list with one tensor per column")
    if not isinstance(request.get("id", ""), str):
        raise _refusal("id", "text")
    try:
        wanted = [output["name"] for output in request.get("outputs", ())]
        strange = set(wanted) - set(OUTPUTS)
    except (TypeError, KeyError):
        strange = {""}
    if strange:
        raise _refusal("outputs", f"a list of objects with the names {', '.join(OUTPUTS)}")
    columns: dict[str, list[object]] = {}
    for place, tensor in enumerate(request["inputs"]):
        try:
            name, shape, cells = tensor["name"], tensor["shape"], list(_flat(tensor["data"]))
            fits = (
                isinstance(name, str)
                and name not in columns
                and shape in ([len(cells)], [len(cells), 1])
            )
            fits = fits and isinstance(tensor["datatype"], str)
        except (TypeError, KeyError):
            fits = False
        if not fits:
            raise _refusal(f"inputs[{place}]", f"{_TENSOR}, each name once")
        columns[name] = cells
    if len({len(cells) for cells in columns.values()}) != 1:
        raise _refusal("inputs", "tensors of one length")
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    return judged(contract, list(rows)), request


def write(result: Result, request: dict[str, Any]) -> bytes:
    """The body of an answer: the outputs that were asked for, or all of them."""
    scored = result.scored
    wanted = [output["name"] for output in request.get("outputs", ())] or OUTPUTS
    answer = {
        "model_name": result.served.contract.name,
        "model_version": str(result.served.version),
        **({"id": request["id"]} if "id" in request else {}),
        "outputs": [
            {
                "name": name, "datatype": "FP64", "shape": [len(scored.ids)],
                "data": getattr(scored, name).tolist(),
            }
            for name in OUTPUTS
            if name in wanted
        ],
    }  # fmt: skip
    return orjson.dumps(answer)


def metadata(served: Served) -> dict[str, Any]:
    """What the protocol tells about a model."""
    return {
        "name": served.contract.name,
        "versions": [str(served.version)],
        "platform": "onnx_onnxv1",
        "inputs": [
            {"name": column.name, "datatype": _datatype(column), "shape": [-1]}
            for column in served.contract.features
        ],
        "outputs": [{"name": name, "datatype": "FP64", "shape": [-1]} for name in OUTPUTS],
    }


def _datatype(column: Column) -> str:
    return "BYTES" if column.allowed and isinstance(column.allowed[0], str) else "FP64"


def _flat(data: object) -> Iterator[object]:
    """The cells of a tensor, nested or flat, row by row."""
    if not isinstance(data, list):
        raise TypeError
    for cell in data:
        if isinstance(cell, list):
            yield from _flat(cell)
        else:
            yield cell


def _refusal(key: str, allowed: str) -> RowsRefused:
    return RowsRefused("The request", [Finding(None, key, "something else", allowed)])
