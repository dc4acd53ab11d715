"""MLflow's protocol, so that a client of ``mlflow models serve`` can ask here: ``POST /invocations``.

Its four forms of a request differ in the way that rows are written down; rows are judged as everywhere.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mlref.serving.boundary import dumps
from mlref.serving.decode import decode, envelope, judged, kind, listed, refusal
from mlref.serving.service import Asked, Service

Rows = list[object]


def invoke(service: Service, body: bytes, asked: Asked) -> bytes:
    """Answer one request: ``{"predictions": [value, …]}``."""
    model = service.model
    names, most = model.contract.names, model.limits.rows
    document = decode(body)
    if isinstance(document, dict) and document.pop("params", None):
        raise refusal("params", "parameters", "none: this model has no parameters")
    if not isinstance(document, dict) or len(document) != 1 or not FORMS.keys() & document.keys():
        raise refusal(None, kind(document), f"an object with one of the keys {', '.join(FORMS)}")
    [(form, rows)] = document.items()
    verdict = judged(model.contract, listed(FORMS[form](rows, form, names), form, most))
    _, prediction = service.score(model, verdict, asked)
    return dumps({"predictions": prediction.value.tolist()})


def _records(rows: Any, key: str, names: tuple[str, ...]) -> Any:
    """Objects, or lists of values in the order of the contract."""
    if not isinstance(rows, list):
        return rows
    return [dict(zip(names, row, strict=True)) if _as_wide(row, names) else row for row in rows]


def _split(table: Any, key: str, names: tuple[str, ...]) -> Any:
    """Names apart from the values, as pandas writes with ``orient="split"``."""
    parts = envelope(table, ("columns", "data"), ("index",))
    columns, data = parts["columns"], parts["data"]
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise refusal("columns", kind(columns), "a list of column names")
    if len(set(columns)) != len(columns):
        raise refusal("columns", "a name more than once", "each name once")
    return _records(data, key, tuple(columns))


def _inputs(table: Any, key: str, names: tuple[str, ...]) -> Any:
    """A list of values for each column, or rows as in the other forms."""
    if not isinstance(table, Mapping):
        return _records(table, key, names)
    if not all(isinstance(column, list) for column in table.values()):
        raise refusal(key, "an object", "a list of values for each column")
    if len({len(column) for column in table.values()}) > 1:
        raise refusal(key, "columns of different lengths", "as many values for each column")
    return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]


def _as_wide(row: object, names: tuple[str, ...]) -> bool:
    return isinstance(row, list) and len(row) == len(names)


FORMS: Mapping[str, Callable[[Any, str, tuple[str, ...]], Any]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _records,
    "inputs": _inputs,
}
"""Key of a request to how its rows are written down."""
