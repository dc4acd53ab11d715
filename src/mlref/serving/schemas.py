"""JSON Schemas of what goes in and out, generated from the contract.

A property test holds the schema of a request and the service's own verdict together.
"""

from typing import Any

from mlref.contract import Column, Contract
from mlref.serving.limits import Limits

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
FREE: Schema = {"type": "object"}
FLAG: Schema = {"type": "boolean"}


def schemas(contract: Contract, limits: Limits) -> dict[str, Schema]:
    """All schemas of the service, by name."""
    return {
        "Instance": instance_schema(contract),
        **_ours(contract, limits),
        **_mlflow(contract, limits),
        **_open_inference(contract, limits),
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
        "PredictRequest": {**closed(instances=_rows(limits)), "examples": [example]},
        "PredictResponse": closed(model=model, predictions=items(prediction)),
        "Error": closed(error=error),
        "Model": closed(model=model, record=FREE, contract=FREE),
        "Health": closed(status={**TEXT, "enum": ["live", "ready", "draining"]}),
    }


def _mlflow(contract: Contract, limits: Limits) -> dict[str, Schema]:
    cells = [column_schema(column) for column in contract.features]
    width = {"minItems": len(cells), "maxItems": len(cells)}
    wide = {"type": "array", "prefixItems": cells, **width}
    rows = {**_rows(limits), "items": {"anyOf": [ref("Instance"), wide]}}
    columns = closed(
        **{
            name: {**items(cell), "minItems": 1, "maxItems": limits.rows}
            for name, cell in zip(contract.names, cells, strict=True)
        }
    )
    split = {
        **closed(
            columns={**items({"enum": list(contract.names)}), "uniqueItems": True, **width},
            data={**items({"type": "array", **width}), "minItems": 1, "maxItems": limits.rows},
        ),
    }
    split["properties"]["index"] = {"type": "array"}
    forms = [
        closed(dataframe_split=split),
        closed(dataframe_records=rows),
        closed(instances=rows),
        closed(inputs={"anyOf": [columns, rows]}),
    ]
    example = {"dataframe_records": [contract.example]}
    return {
        "InvocationsRequest": {"type": "object", "anyOf": forms, "examples": [example]},
        "InvocationsResponse": closed(predictions=items(NUMBER)),
    }


def _open_inference(contract: Contract, limits: Limits) -> dict[str, Schema]:
    shape = {**items({"type": "integer", "minimum": 1}), "minItems": 1, "maxItems": 2}
    data = {"type": "array", "minItems": 1, "maxItems": limits.rows}
    named = closed(name=TEXT, datatype={"enum": list(DATATYPES)}, shape=shape)
    column = {"enum": list(contract.names)}
    tensor = closed(**{**named["properties"], "name": column, "data": data})
    tensor["properties"]["parameters"] = FREE
    wanted = closed(name={"enum": list(OUTPUTS)})
    wanted["properties"]["parameters"] = FREE
    width = {"minItems": len(contract.names), "maxItems": len(contract.names)}
    request = closed(inputs={**items(tensor), **width})
    request["properties"] |= {"id": TEXT, "parameters": FREE, "outputs": items(wanted)}
    request["examples"] = [
        {
            "inputs": [
                {"name": column.name, "datatype": datatype(column), "shape": [1], "data": [cell]}
                for column, cell in zip(contract.features, contract.example.values(), strict=True)
            ]
        }
    ]
    output = closed(**{**named["properties"], "data": items(NUMBER)})
    response = closed(model_name=TEXT, model_version=TEXT, outputs=items(output))
    response["properties"]["id"] = TEXT
    described = {
        **named,
        "properties": {**named["properties"], "shape": items({"type": "integer"})},
    }
    return {
        "Server": closed(name=TEXT, version=TEXT, extensions=items(TEXT)),
        "Live": closed(live=FLAG),
        "Ready": closed(ready=FLAG),
        "Metadata": closed(
            name=TEXT,
            versions=items(TEXT),
            platform=TEXT,
            inputs=items(described),
            outputs=items(described),
        ),
        "ModelReady": closed(name=TEXT, ready=FLAG),
        "InferRequest": request,
        "InferResponse": response,
        "InferError": closed(error=TEXT),
    }


DATATYPES = (
    *("FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64"),
    *("UINT8", "UINT16", "UINT32", "UINT64", "BYTES"),
)
"""Types of tensors in the Open Inference Protocol whose values may be those of a column."""

OUTPUTS = ("value", "lower", "upper")


def datatype(column: Column) -> str:
    """The Open Inference Protocol's name of a column's type."""
    text = column.allowed is not None and isinstance(column.allowed[0], str)
    return "BYTES" if text else "FP64"


def _rows(limits: Limits) -> Schema:
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
