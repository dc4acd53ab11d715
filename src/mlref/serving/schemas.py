"""Types of requests, made of the contract: msgspec decodes bodies by them and describes them in OpenAPI."""

import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from mlref.core.contract import Column, Contract
from mlref.prediction_log.ground_truth import LONGEST
from mlref.serving.errors import FAILED, STATUS

Json = dict[str, Any]

TEXT: Json = {"content": {"text/plain": {"schema": {"type": "string"}}}}
"""An answer in plain text."""


def predict_request(contract: Contract, most: int) -> type[Struct]:
    """Type of ``{"instances": [{column: value, …}, …]}`` with up to ``most`` rows."""
    # fields are numbered, since a column's name need not be an identifier
    cells = [
        (f"c{place}", _cell(column), msgspec.field(name=column.name))
        for place, column in enumerate(contract.features)
    ]
    row = msgspec.defstruct("Row", cells, forbid_unknown_fields=True, gc=False)
    return _envelope("PredictRequest", "instances", row, most)


def feedback_request(contract: Contract, most: int) -> type[Struct]:
    """Type of ``{"labels": [{"id": …, "value": …}, …]}``, for the document."""
    word = Annotated[str, Meta(min_length=1, max_length=LONGEST)]
    keys: list[tuple[str, Any] | tuple[str, Any, Any]] = [
        ("id", Annotated[word, Meta(description="Id of the prediction, as it was answered.")]),
        ("value", _cell(contract.target)),
        ("observed_at", datetime.datetime | None, None),
        ("source", word | None, None),
    ]
    label = msgspec.defstruct("Label", keys, forbid_unknown_fields=True)
    return _envelope("FeedbackRequest", "labels", label, most)


def _envelope(name: str, key: str, item: type[Struct], most: int) -> type[Struct]:
    # mypy takes a type that was made just now for a variable
    some = Annotated[list[item], Meta(min_length=1, max_length=most)]  # type: ignore[valid-type]
    return msgspec.defstruct(name, [(key, some)], forbid_unknown_fields=True)


def _cell(column: Column) -> Any:
    """The type of one column's values; a whole number may be written as 3.0."""
    kind: Any = {"boolean": bool, "date": datetime.date}.get(column.type, float)
    if column.is_text:
        kind = Literal[column.allowed]
    elif column.is_number and column.allowed is not None:
        kind = Annotated[kind, Meta(extra_json_schema={"enum": list(column.allowed)})]
    elif column.valid is not None:
        kind = Annotated[kind, Meta(ge=column.valid[0], le=column.valid[1])]
    if column.type == "integer":
        kind = Annotated[kind, Meta(multiple_of=1)]
    about = Meta(title=column.title, description=described(column), examples=[column.example])
    return Annotated[kind | None if column.nullable else kind, about]


def described(column: Column) -> str:
    """Meaning, unit and usual range of a column, as sentences."""
    words = [column.meaning if column.meaning.endswith(".") else f"{column.meaning}."]
    words += [f"Unit: {column.unit}."] if column.unit else []
    if column.expected:
        words.append(f"Usually from {column.expected[0]:g} to {column.expected[1]:g}.")
    return " ".join(words)


def components(*types: type[Struct]) -> Json:
    """JSON Schemas of types and their parts, by name."""
    _, found = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return found


def content(name: str) -> Json:
    """A body in JSON of the type of this name."""
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def takes(name: str, example: object) -> Json:
    """What a route adds to its place in the document: its body, and the header for the subject."""
    subject = {
        "name": "x-subject-id",
        "in": "header",
        "description": "Whom the rows are about, for the prediction log: any printable ASCII text.",
        "schema": {"type": "string", "pattern": "^[ -~]{1,128}$"},
    }
    body = content(name)
    body["application/json"]["example"] = example
    return {"parameters": [subject], "requestBody": {"required": True, "content": body}}


def refusals(name: str = "Error") -> dict[int | str, Json]:
    """How any request may be refused, for the document: the first lines of the errors."""
    meanings: dict[int, list[str]] = {500: [FAILED]}
    for kind, status, _ in STATUS:
        meanings.setdefault(status, []).append((kind.__doc__ or kind.__name__).splitlines()[0])
    return {
        status: {"description": " ".join(lines), "content": content(name)}
        for status, lines in meanings.items()
    }
