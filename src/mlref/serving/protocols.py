"""JSON Schemas of the protocols of others: MLflow's and Open Inference's."""

from mlref.core.contract import Column, Contract
from mlref.serving.limits import Limits
from mlref.serving.schemas import (
    FLAG,
    FREE,
    NUMBER,
    TEXT,
    Schema,
    closed,
    column_schema,
    items,
    ref,
    rows_schema,
)

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


def schemas(contract: Contract, limits: Limits) -> dict[str, Schema]:
    """Schemas of both, by name."""
    return {**_mlflow(contract, limits), **_open_inference(contract, limits)}


def _mlflow(contract: Contract, limits: Limits) -> dict[str, Schema]:
    cells = [column_schema(column) for column in contract.features]
    width = {"minItems": len(cells), "maxItems": len(cells)}
    wide = {"type": "array", "prefixItems": cells, **width}
    rows = {**rows_schema(limits), "items": {"anyOf": [ref("Instance"), wide]}}
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
