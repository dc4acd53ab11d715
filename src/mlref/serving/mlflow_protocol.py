"""MLflow's protocol, for clients of ``mlflow models serve``. A fork that has none deletes this file.

The four forms of a request differ in how rows are written down; rows are validated as everywhere.
"""

import csv
import io
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from mlref import __version__
from mlref.core.rows import from_file
from mlref.serving.model import Model, Service
from mlref.serving.request import ValidRows, listed, parse, refused, validated
from mlref.serving.schemas import TEXT, takes


class Split(msgspec.Struct):
    """Names apart from the values, as pandas writes with ``orient="split"``."""

    columns: list[str]
    data: list[Any]


class InvocationRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Rows in one of four forms: as objects, or as lists in the order of the contract or of `columns`."""

    dataframe_split: Split | None = None
    dataframe_records: list[Any] | None = None
    instances: list[Any] | None = None
    inputs: list[Any] | dict[str, list[Any]] | None = None
    params: dict[str, Any] | None = None


def router(service: Service) -> APIRouter:
    """Make the routes."""
    router = APIRouter(tags=["mlflow"])
    body = takes("InvocationRequest", {"dataframe_records": [service.model.contract.example]})

    @router.post("/invocations", openapi_extra=body)
    async def invoke(request: Request) -> dict[str, list[float]]:
        """Predict rows in the forms of `mlflow models serve`, CSV too; answers values only."""
        model, content = service.model, request.headers.get("content-type", "")
        with service.counting(model):
            if content.lower().startswith("text/csv"):
                records = listed(
                    {"rows": _records(await request.body(), model)}, "rows", model.limits.rows
                )
                rows = validated(model.contract, records)
            else:
                rows = _rows(parse(await request.body(), InvocationRequest), model)
        _, prediction = service.answer(model, rows, request.state.context)
        return {"predictions": prediction.value.tolist()}

    @router.get("/ping", response_class=Response, responses={200: TEXT, 503: TEXT})
    async def ping() -> Response:
        """Say whether predictions are answered."""
        return Response("\n", 503 if service.draining else 200, media_type="text/plain")

    @router.get("/version", response_class=Response, responses={200: TEXT})
    async def version() -> Response:
        """Name the version of mlref."""
        return Response(__version__, media_type="text/plain")

    return router


def _rows(asked: InvocationRequest, model: Model) -> ValidRows:
    forms = (asked.dataframe_split, asked.dataframe_records, asked.instances, asked.inputs)
    given = [form for form in forms if form is not None]
    if len(given) != 1 or asked.params:
        allowed = "dataframe_split, dataframe_records, instances or inputs; params are not used"
        raise refused(None, "another form", f"one of {allowed}")
    table: Any = given[0]
    names = list(model.contract.names)
    if isinstance(table, Split):
        table, names = table.data, table.columns
        if len(set(names)) < len(names):
            raise refused("columns", "a name more than once", "each name once")
    if isinstance(table, dict):
        if len({*map(len, table.values())}) > 1:
            raise refused("inputs", "columns of different lengths", "as many values for each")
        table, names = [[*row] for row in zip(*table.values(), strict=True)], [*table]
    records = [
        dict(zip(names, row, strict=True)) if _fits(row, names) else row
        for row in listed({"rows": table}, "rows", model.limits.rows)
    ]
    return validated(model.contract, records)


def _records(body: bytes, model: Model) -> list[object]:
    """The rows of CSV with a header; an empty cell is null, and text stands for what its column holds."""
    try:
        lines = [*csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)]
    except (UnicodeDecodeError, csv.Error):
        raise refused(None, "another form", "CSV in UTF-8, with a header") from None
    columns = {column.name: column for column in model.contract.features}
    names = lines[0] if lines else []

    def _read(name: str, cell: str) -> object:
        return from_file(columns[name], cell or None) if name in columns else cell

    return [
        dict(zip(names, map(_read, names, row), strict=True)) if _fits(row, names) else row
        for row in lines[1:]
    ]


def _fits(row: object, names: list[str]) -> bool:
    return isinstance(row, list) and len(row) == len(names)
