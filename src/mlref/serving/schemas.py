"""JSON Schemas of what goes in and out, generated from the contract.

A property test holds the schema of a request and the service's own verdict together.
"""

from typing import Any

from mlref.core.contract import Column, Contract
from mlref.prediction_log.ground_truth import LONGEST
from mlref.serving.limits import Limits

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
FREE: Schema = {"type": "object"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}


def schemas(contract: Contract, limits: Limits) -> dict[str, Schema]:
    """Schemas of the service's own addresses, by name."""
    return {"Instance": instance_schema(contract), **_ours(contract, limits)}


def instance_schema(contract: Contract) -> Schema:
    """JSON Schema of one row."""
    return {
        "type": "object",
        "properties": {column.name: column_schema(column) for column in contract.features},
        "required": list(contract.names),
        "additionalProperties": False,
        "examples": [contract.example],
    }


def column_schema(column: Column) -> Schema:
    """JSON Schema of one column.

    Examples
    --------
    >>> from mlref.core.contract import Column
    >>> rooms = Column(name="rooms", title="Rooms", meaning="How many.", type="integer",
    ...                valid=(1, 20), nullable=True, example=3)
    >>> schema = column_schema(rooms)
    >>> schema["type"], schema["minimum"], schema["maximum"]
    (['integer', 'null'], 1, 20)
    """
    schema: Schema = {
        "title": column.title,
        "description": described(column),
        "examples": [column.example],
    }
    kind: str = column.type
    if column.allowed is not None:
        kind = "string" if isinstance(column.allowed[0], str) else "number"
        schema["enum"] = [*column.allowed, None] if column.nullable else list(column.allowed)
    if column.valid is not None:
        schema["minimum"], schema["maximum"] = map(_short, column.valid)
    schema["type"] = [kind, "null"] if column.nullable else kind
    return schema


def described(column: Column) -> str:
    """Meaning, unit and usual range, as sentences."""
    words = [column.meaning if column.meaning.endswith(".") else f"{column.meaning}."]
    words += [f"Unit: {column.unit}."] if column.unit else []
    if column.expected:
        words.append(f"Usually from {column.expected[0]:g} to {column.expected[1]:g}.")
    return " ".join(words)


def _short(bound: float) -> float | int:
    return int(bound) if bound == int(bound) else bound


def _ours(contract: Contract, limits: Limits) -> dict[str, Schema]:
    model = closed(name=TEXT, version={"type": ["integer", "string"]}, digest=TEXT)
    prediction = closed(
        id={**TEXT, "description": "Unique to this prediction: a UUID of version 7."},
        value={**NUMBER, "description": described(contract.target)},
        lower={**NUMBER, "description": "Lower end of the prediction interval."},
        upper={**NUMBER, "description": "Upper end of the prediction interval."},
        warnings={**items(TEXT), "description": "A sentence per value that is unusual."},
    )
    detail = closed(
        instance={"type": ["integer", "null"], "description": "Position of the row, from 0."},
        column={"type": ["string", "null"], "description": "Name of the column or key."},
        allowed={**TEXT, "description": "What would have been accepted."},
        got={**TEXT, "description": "What kind of thing was sent."},
    )
    error = closed(code=TEXT, message=TEXT, request_id=TEXT, details=items(detail))
    example = {"instances": [contract.example]}
    return {
        "PredictRequest": {**closed(instances=rows_schema(limits)), "examples": [example]},
        "PredictResponse": closed(model=model, predictions=items(prediction)),
        "FeedbackRequest": closed(
            labels={**items(_label(contract)), "minItems": 1, "maxItems": limits.rows}
        ),
        "FeedbackResponse": closed(
            accepted=COUNT, duplicate=COUNT, conflicting=COUNT, unknown=COUNT
        ),
        "Error": closed(error=error),
        "Model": closed(model=model, record=FREE, contract=FREE),
        "Health": closed(status={**TEXT, "enum": ["live", "ready", "draining"]}),
    }


def _label(contract: Contract) -> Schema:
    words = {**TEXT, "minLength": 1, "maxLength": LONGEST}
    moment = {
        "type": ["string", "null"],
        "format": "date-time",
        "description": "When it was measured.",
    }
    source = {**words, "type": ["string", "null"], "description": "Who says so."}
    value = {key: part for key, part in column_schema(contract.target).items() if key != "title"}
    label = closed(
        id={**words, "description": "Of the prediction, as it was answered."},
        value=value,
        observed_at=moment,
        source=source,
    )
    return label | {"required": ["id", "value"]}


def rows_schema(limits: Limits) -> Schema:
    """JSON Schema of a request's rows."""
    return {**items(ref("Instance")), "minItems": 1, "maxItems": limits.rows}


def closed(**properties: Schema) -> Schema:
    """An object with exactly these keys."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def items(schema: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": schema}


def ref(name: str) -> Schema:
    """A schema of the document, by its name."""
    return {"$ref": f"#/components/schemas/{name}"}
