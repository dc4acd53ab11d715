"""The OpenAPI document, generated from the contract.

A property test holds this schema and the service's own verdict together.
"""

from typing import Any

from mlref import __version__
from mlref.contract import Column, Contract
from mlref.serving.boundary import FAILED, STATUS
from mlref.serving.decode import MOST_ROWS

Schema = dict[str, Any]


def document(contract: Contract, version: int | str) -> Schema:
    """Describe the service of one model.

    Parameters
    ----------
    contract : Contract
        What a row may hold, and what the target is.
    version : int or str
        Version of the model.
    """
    predict = {
        "tags": ["model"],
        "operationId": "predict",
        "summary": "Predict rows",
        "description": "One prediction with its interval per row, in the order of the rows.",
        "requestBody": {"required": True, "content": _json("PredictRequest")},
        "responses": {
            "200": _response("The predictions.", "PredictResponse", _prediction(contract, version)),
            "400": _response("The body is not JSON.", "Error", _error("invalid_json", _NOT_JSON)),
            "422": _response("The rows break the contract.", "Error", _refusal(contract)),
            **_refusals(without=("400", "422")),
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": contract.title,
            "version": str(version),
            "description": f"Version {version} of the model `{contract.name}`, which predicts:"
            f" {_described(contract.target)} Served by mlref {__version__}.",
        },
        "paths": {
            "/v1/predict": {"post": predict},
            "/v1/model": _get("model", "describe", "Show the model's record and contract", "Model"),
            "/health/live": _get("health", "live", "Say whether the process runs", "Health"),
            "/health/ready": _get(
                "health", "ready", "Say whether predictions are answered", "Health"
            ),
            "/metrics": _metrics(),
        },
        "components": {
            "schemas": _schemas(contract),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


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
    >>> from mlref.contract import Column
    >>> rooms = Column(name="rooms", title="Rooms", meaning="How many.", type="integer",
    ...                valid=(1, 20), nullable=True, example=3)
    >>> schema = column_schema(rooms)
    >>> schema["type"], schema["minimum"], schema["maximum"]
    (['integer', 'null'], 1, 20)
    """
    schema: Schema = {
        "title": column.title,
        "description": _described(column),
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


def _described(column: Column) -> str:
    """Meaning, unit and usual range, as sentences."""
    words = [column.meaning if column.meaning.endswith(".") else f"{column.meaning}."]
    words += [f"Unit: {column.unit}."] if column.unit else []
    if column.expected:
        words.append(f"Usually from {column.expected[0]:g} to {column.expected[1]:g}.")
    return " ".join(words)


def _short(bound: float) -> float | int:
    return int(bound) if bound == int(bound) else bound


def _schemas(contract: Contract) -> Schema:
    text, number, free = {"type": "string"}, {"type": "number"}, {"type": "object"}
    model = _object(name=text, version={"type": ["integer", "string"]}, digest=text)
    prediction = _object(
        id={**text, "description": "Unique to this prediction."},
        value={**number, "description": _described(contract.target)},
        lower={**number, "description": "Lower end of the prediction interval."},
        upper={**number, "description": "Upper end of the prediction interval."},
        warnings={**_list(text), "description": "A sentence per value that is unusual."},
    )
    detail = _object(
        instance={"type": ["integer", "null"], "description": "Position of the row, from 0."},
        column={"type": ["string", "null"], "description": "Name of the column or key."},
        allowed={**text, "description": "What would have been accepted."},
        got={**text, "description": "What kind of thing was sent."},
    )
    error = _object(code=text, message=text, request_id=text, details=_list(detail))
    request = _object(instances={**_list(_ref("Instance")), "minItems": 1, "maxItems": MOST_ROWS})
    example = {"instances": [contract.example]}
    return {
        "Instance": instance_schema(contract),
        "PredictRequest": {**request, "additionalProperties": False, "examples": [example]},
        "PredictResponse": _object(model=model, predictions=_list(prediction)),
        "Error": _object(error=error),
        "Model": _object(model=model, record=free, contract=free),
        "Health": _object(status={**text, "enum": ["live", "ready", "draining"]}),
    }


_NOT_JSON = "The body is not JSON: it has a mistake at line 1, column 15."


def _prediction(contract: Contract, version: int | str) -> Schema:
    """An example of an answer, as wide as the target's usual range."""
    target = contract.target
    lower, upper = target.expected or target.valid or (0, 0)
    row: Schema = {"id": "4f1c…", "value": target.example, "lower": lower, "upper": upper}
    model = {"name": contract.name, "version": version, "digest": "9a2e…"}
    return {"model": model, "predictions": [{**row, "warnings": []}]}


def _refusal(contract: Contract) -> Schema:
    first = contract.features[0]
    message = "1 value is refused; `details` names where and what is allowed."
    got = {"instance": 0, "column": first.name, "allowed": first.accepts, "got": "nothing"}
    return _error("rows_refused", message, got)


def _error(code: str, message: str, *details: Schema) -> Schema:
    return {
        "error": {"code": code, "message": message, "request_id": "c07b…", "details": [*details]}
    }


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str) -> Schema:
    return {"application/json": {"schema": _ref(name)}}


def _response(description: str, name: str, example: Schema | None = None) -> Schema:
    header = {"description": "Id of this request, as sent or new.", "schema": {"type": "string"}}
    content = _json(name)
    if example:
        content["application/json"]["example"] = example
    return {"description": description, "headers": {"x-request-id": header}, "content": content}


def _metrics() -> Schema:
    """The one route that does not answer in JSON."""
    operation = _get("health", "metrics", "Give the metrics to Prometheus", "Health")
    text = {"text/plain": {"schema": {"type": "string"}}}
    operation["get"]["responses"]["200"]["content"] = text
    return operation


def _refusals(without: tuple[str, ...]) -> Schema:
    """What every route may answer besides its own, by status."""
    found = {
        str(status): _response(_first(kind), "Error", _error(code, _first(kind)))
        for kind, status, code in STATUS
    }
    failed = _error("internal_server_error", FAILED)
    found["500"] = _response("The service failed.", "Error", failed)
    return {status: found[status] for status in sorted(found) if status not in without}


def _first(kind: type) -> str:
    """The first line of a docstring, which says what went wrong."""
    return (kind.__doc__ or "").splitlines()[0]


def _get(tag: str, name: str, summary: str, schema: str) -> Schema:
    bodies = ("400", "408", "413", "415", "422")  # of requests, and here there is none
    responses = {"200": _response("The answer.", schema), **_refusals(without=bodies)}
    return {"get": {"tags": [tag], "operationId": name, "summary": summary, "responses": responses}}
