"""MLflow's protocol, for clients of ``mlflow models serve``. A fork that has none deletes this file.

The four forms of a request differ in how rows are written down; rows are validated as everywhere.
"""

import csv
import io
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from mlref import __version__
from mlref.core.contract import Contract
from mlref.core.rows import from_file
from mlref.serving.model import Service
from mlref.serving.request import listed, parse, refused, validated
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
        model, contract = service.model, service.model.contract
        is_csv = request.headers.get("content-type", "").lower().startswith("text/csv")
        with service.counting(model):
            names, table = (_from_csv if is_csv else _from_json)(await request.body(), contract)
            given = listed({"rows": table}, "rows", model.limits.rows)
            rows = validated(contract, [_record(names, row) for row in given])
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


Table = tuple[list[str], list[Any]]
"""Names, and rows as lists in their order; or rows that have their names."""


def _from_json(body: bytes, contract: Contract) -> Table:
    asked = parse(body, InvocationRequest)
    forms = (asked.dataframe_split, asked.dataframe_records, asked.instances, asked.inputs)
    given = [form for form in forms if form is not None]
    if len(given) != 1 or asked.params:
        allowed = "dataframe_split, dataframe_records, instances or inputs; params are not used"
        raise refused(None, "another form", f"one of {allowed}")
    [form] = given
    if isinstance(form, Split):
        if len(set(form.columns)) < len(form.columns):
            raise refused("columns", "a name more than once", "each name once")
        return form.columns, form.data
    if isinstance(form, dict):
        if len({*map(len, form.values())}) > 1:
            raise refused("inputs", "columns of different lengths", "as many values for each")
        return [*form], [[*row] for row in zip(*form.values(), strict=True)]
    return [*contract.names], form


def _from_csv(body: bytes, contract: Contract) -> Table:
    """CSV with a header; an empty cell is null, and text stands for what its column holds."""
    lines: list[list[Any]]
    try:
        lines = [*csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)]
    except (UnicodeDecodeError, csv.Error):
        raise refused(None, "another form", "CSV in UTF-8, with a header") from None
    columns = {column.name: column for column in contract.features}
    names, *rows = lines or [[]]
    for row in rows:
        for place, name in enumerate(names[: len(row)]):
            if name in columns:
                row[place] = from_file(columns[name], row[place] or None)
    return names, rows


def _record(names: list[str], row: Any) -> object:
    """A row with its names, where it has as many cells."""
    fits = isinstance(row, list) and len(row) == len(names)
    return dict(zip(names, row, strict=True)) if fits else row
