"""MLflow's scoring protocol: the four ways in which its clients send rows.

See "Local Inference Spec" of MLflow's documentation. The answer is ``{"predictions": [value, …]}``;
who wants intervals asks /v1/predict.
"""

from typing import Any

import orjson

from mlref.contract import Contract
from mlref.errors import Finding, RowsRefused
from mlref.rows import Verdict
from mlref.serving.decode import judged, parse
from mlref.serving.model import Scored

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_ALLOWED = f"an object with one of the keys {', '.join(FORMS)}"


def read(contract: Contract, body: bytes) -> Verdict:
    """Decode a request and judge its rows; a row without names is taken in contract order.

    Raises
    ------
    InvalidJson, RowsRefused
        As for /v1/predict.
    """
    document = parse(body)
    given = [form for form in FORMS if isinstance(document, dict) and form in document]
    if not isinstance(document, dict) or len(given) != 1 or set(document) - {*given, "params"}:
        raise RowsRefused("The request", [Finding(None, None, "something else", _ALLOWED)])
    content = document[given[0]]
    try:
        rows = _split(content) if given == ["dataframe_split"] else _rows(contract, content)
    except (TypeError, ValueError, KeyError, AttributeError):
        allowed = f"rows in the form of MLflow's {given[0]}"
        raise RowsRefused(
            "The request", [Finding(None, given[0], "something else", allowed)]
        ) from None
    return judged(contract, rows)


def write(scored: Scored) -> bytes:
    """The body of an answer."""
    return orjson.dumps({"predictions": scored.value.tolist()})


def _split(content: Any) -> list[object]:
    """Rows of ``{"columns": […], "data": [[…], …]}``; an index is of no use here."""
    if set(content) - {"columns", "data", "index"} or len(set(content["columns"])) < len(
        content["columns"]
    ):
        raise ValueError
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def _rows(contract: Contract, content: Any) -> list[object]:
    """Rows of a list of objects or lists, or of an object that has a list for each column."""
    if isinstance(content, dict):
        columns = content.values()
        return [dict(zip(content, cells, strict=True)) for cells in zip(*columns, strict=True)]
    if not isinstance(content, list):
        raise TypeError
    return [
        dict(zip(contract.names, row, strict=True)) if isinstance(row, list) else row
        for row in content
    ]
