"""Models of requests and answers, made of the contract, from which FastAPI writes the OpenAPI document.

Bodies of requests are read by :mod:`mlref.serving.request`; a test holds both to the same verdict.
"""

import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.json_schema import models_json_schema

from mlref.core.contract import Column, Contract
from mlref.prediction_log.ground_truth import LONGEST
from mlref.serving.request import Limits

Json = dict[str, Any]


class ModelName(BaseModel):
    """The model that answered."""

    name: str
    version: int | str
    digest: str


class ModelAnswer(BaseModel):
    """The model in use: its registration record, and its contract without the source of the data."""

    model: ModelName
    record: Json
    contract: Json


class Detail(BaseModel):
    """One fault of a request."""

    instance: int | None = Field(description="Position of the row, from 0.")
    column: str | None = Field(description="Name of the column or key.")
    allowed: str = Field(description="What would have been accepted.")
    got: str = Field(description="What kind of value was sent.")


class ErrorContent(BaseModel):
    """What went wrong; `details` lists up to a hundred faults."""

    code: str
    message: str
    request_id: str
    details: list[Detail]


class Error(BaseModel):
    """The body of every error."""

    error: ErrorContent


class FeedbackResponse(BaseModel):
    """Labels by what became of them; `conflicting` are corrections, `unknown` ids are not in the log."""

    accepted: int
    duplicate: int
    conflicting: int
    unknown: int


def row(contract: Contract) -> type[BaseModel]:
    """The model of one row; its fields are numbered, since a column's name need not be an identifier."""
    cells = {
        f"c{place}": (cell(column), Field(alias=column.name))
        for place, column in enumerate(contract.features)
    }
    return closed("Row", **cells)


def cell(column: Column) -> Any:
    """The type of one column's values, for a model."""
    if column.allowed is not None:
        value: Any = Literal[column.allowed]
    else:
        low, high = column.valid or (None, None)
        number = int if column.type == "integer" else float
        value = Annotated[number, Field(ge=low, le=high)]
    shown = Field(title=column.title, description=described(column), examples=[column.example])
    return Annotated[value | None if column.nullable else value, shown]


def described(column: Column) -> str:
    """Meaning, unit and usual range of a column, as sentences."""
    words = [column.meaning if column.meaning.endswith(".") else f"{column.meaning}."]
    words += [f"Unit: {column.unit}."] if column.unit else []
    if column.expected:
        words.append(f"Usually from {column.expected[0]:g} to {column.expected[1]:g}.")
    return " ".join(words)


def requests(contract: Contract, limits: Limits) -> Json:
    """JSON Schemas of the bodies that the routes read by themselves, by name."""
    some = Field(min_length=1, max_length=limits.rows)
    word = Annotated[str, Field(min_length=1, max_length=LONGEST)]
    label = closed(
        "Label",
        id=(word, Field(description="Id of the prediction, as it was answered.")),
        value=(cell(contract.target), ...),
        observed_at=(datetime.datetime | None, Field(None, description="When it was measured.")),
        source=(word | None, Field(None, description="Who says so.")),
    )
    one = row(contract)
    predict = closed("PredictRequest", instances=(list[one], some))  # type: ignore[valid-type]
    feedback = closed("FeedbackRequest", labels=(list[label], some))  # type: ignore[valid-type]
    _, found = models_json_schema(
        [(predict, "validation"), (feedback, "validation")],
        ref_template="#/components/schemas/{model}",
    )
    schemas: Json = found["$defs"]
    schemas["PredictRequest"]["examples"] = [{"instances": [contract.example]}]
    return schemas


def predict_response(contract: Contract) -> type[BaseModel]:
    """The model of an answer with predictions."""
    target = contract.target
    prediction = create_model(
        "Prediction",
        id=(str, Field(description="Unique to this prediction: a UUID of version 7.")),
        value=(float, Field(description=described(target), examples=[target.example])),
        lower=(float, Field(description="Lower end of the prediction interval.")),
        upper=(float, Field(description="Upper end of the prediction interval.")),
        warnings=(list[str], Field(description="A sentence for each value that is unusual.")),
    )
    rows = list[prediction]
    return create_model("PredictResponse", model=(ModelName, ...), predictions=(rows, ...))


def closed(name: str, /, **keys: Any) -> type[BaseModel]:
    """Make a model without other keys."""
    return create_model(name, __config__=ConfigDict(extra="forbid"), **keys)


def takes(schema: Json) -> Json:
    """What a route adds to its place in the document: its body, and the header for the subject."""
    subject = {
        "name": "x-subject-id",
        "in": "header",
        "description": "Whom the rows are about, for the prediction log: any printable ASCII text.",
        "schema": {"type": "string", "pattern": "^[ -~]{1,128}$"},
    }
    content = {"application/json": {"schema": schema}}
    return {"parameters": [subject], "requestBody": {"required": True, "content": content}}


def ref(name: str) -> Json:
    """A schema of the document, by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


TEXT: Json = {"content": {"text/plain": {"schema": {"type": "string"}}}}
"""An answer in plain text."""

REFUSALS = {
    400: "The body is not JSON, or a header has a value that is not allowed.",
    401: "No key that the service knows.",
    403: "The key's role may not do this.",
    404: "No such model or version, or the service keeps no log.",
    408: "The body had not arrived in time.",
    413: "The body is too long.",
    415: "The body is not plain JSON.",
    422: "The rows or labels break the contract.",
    500: "The service failed.",
    503: "Too many requests wait, or the service is stopping; ask again after `retry-after` seconds.",
}
OF_BODIES = ("408", "413", "415")
"""Refusals of requests with a body alone."""


def refusals(model: type[BaseModel] = Error) -> dict[int | str, Json]:
    """How any request may be refused, for the document."""
    return {status: {"model": model, "description": word} for status, word in REFUSALS.items()}
