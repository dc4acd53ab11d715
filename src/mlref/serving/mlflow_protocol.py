"""MLflow's protocol, for clients of ``mlflow models serve``. A fork that has none deletes this file.

The four forms of a request differ in how rows are written down; rows are validated as everywhere.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from mlref import __version__
from mlref.core.rows import ValidationResult
from mlref.serving.model import Model, Service
from mlref.serving.request import decode, fields, items, kind, refused, validated
from mlref.serving.schemas import TEXT, takes


def router(service: Service) -> APIRouter:
    """Make the routes."""
    router = APIRouter(tags=["mlflow"])
    example = {"dataframe_records": [service.model.contract.example]}

    @router.post(
        "/invocations",
        response_model=dict[str, list[float]],
        openapi_extra=takes({"type": "object", "examples": [example]}),
    )
    async def invoke(request: Request) -> Response:
        """Predict rows in the forms of `mlflow models serve`; answers values only."""
        model, body = service.model, await request.body()
        _, prediction, _ = service.answer(model, lambda: _read(model, body), request.state.context)
        content = msgspec.json.encode({"predictions": prediction.value.tolist()})
        return Response(content, media_type="application/json")

    @router.get("/ping", response_class=Response, responses={200: TEXT, 503: TEXT})
    async def ping() -> Response:
        """Say whether predictions are answered."""
        return Response("\n", 503 if service.draining else 200, media_type="text/plain")

    @router.get("/version", response_class=Response, responses={200: TEXT})
    async def version() -> Response:
        """Name the version of mlref."""
        return Response(__version__, media_type="text/plain")

    return router


def _read(model: Model, body: bytes) -> ValidationResult:
    document = decode(body)
    if isinstance(document, dict) and document.pop("params", None):
        raise refused("params", "parameters", "none: this model has no parameters")
    if not isinstance(document, dict) or len(document) != 1 or not FORMS.keys() & document.keys():
        raise refused(None, kind(document), f"an object with one of the keys {', '.join(FORMS)}")
    [(form, table)] = document.items()
    records = FORMS[form](table, form, model.contract.names)
    return validated(model.contract, items(records, form, model.limits.rows))


def _records(table: Any, key: str, names: tuple[str, ...]) -> Any:
    """Objects, or lists of values in the order of the contract."""
    if not isinstance(table, list):
        return table
    width = len(names)
    return [
        dict(zip(names, one, strict=True)) if isinstance(one, list) and len(one) == width else one
        for one in table
    ]


def _split(table: Any, key: str, names: tuple[str, ...]) -> Any:
    """Names apart from the values, as pandas writes with ``orient="split"``."""
    parts = fields(table, ("columns", "data"), ("index",))
    columns = parts["columns"]
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise refused("columns", kind(columns), "a list of column names")
    if len(set(columns)) != len(columns):
        raise refused("columns", "a name more than once", "each name once")
    return _records(parts["data"], key, tuple(columns))


def _inputs(table: Any, key: str, names: tuple[str, ...]) -> Any:
    """A list of values for each column, or rows as in the other forms."""
    if not isinstance(table, dict):
        return _records(table, key, names)
    if not all(isinstance(column, list) for column in table.values()):
        raise refused(key, "an object", "a list of values for each column")
    if len({len(column) for column in table.values()}) > 1:
        raise refused(key, "columns of different lengths", "as many values for each column")
    return [dict(zip(table, one, strict=True)) for one in zip(*table.values(), strict=True)]


FORMS: Mapping[str, Callable[[Any, str, tuple[str, ...]], Any]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _records,
    "inputs": _inputs,
}
"""Key of a request to how its rows are written down."""
