"""The OpenAPI document: the routes, what they take and what they answer."""

from mlref import __version__
from mlref.core.contract import Contract
from mlref.serving import protocols
from mlref.serving.boundary import FAILED
from mlref.serving.keys import OPEN
from mlref.serving.limits import Limits
from mlref.serving.schemas import Schema, described, ref, schemas

SUBJECT = {
    "name": "x-subject-id",
    "in": "header",
    "description": "Whom the rows are about, for the prediction log: any printable ASCII text.",
    "schema": {"type": "string", "pattern": "^[ -~]{1,128}$"},
}

ANY = {
    "400": "The request is not HTTP, or a header has a value that cannot be taken.",
    "401": "No key that the service knows.",
    "403": "The key's role may not do this.",
    "408": "The request had not arrived in time.",
    "431": "The head of the request is too long.",
    "500": "The service failed.",
    "503": "Too many requests wait; ask again after `retry-after` seconds.",
}
"""What every request may be told."""

POST = {
    "400": "The body is not JSON, or a header has a value that cannot be taken.",
    "413": "The body is too long.",
    "415": "The body is not plain JSON.",
    "422": "The rows break the contract.",
}
"""What a request with a body may be told besides."""


def document(contract: Contract, version: int | str, limits: Limits | None = None) -> Schema:
    """Describe the service of one model.

    Parameters
    ----------
    contract : Contract
        What a row may hold, and what the target is.
    version : int or str
        Version of the model.
    limits : Limits, optional
        What a request may take.
    """
    limits = limits or Limits()
    paths: Schema = {
        "/v1/predict": {"post": _predict(contract, version)},
        "/v1/feedback": {"post": _feedback(contract)},
        "/v1/model": _get("model", "describe", "Show the model's record and contract", "Model"),
        **_operations(),
        **_mlflow(contract),
        **_open_inference(contract, version),
    }
    for path in filter(OPEN, paths):
        for operation in paths[path].values():
            operation["security"] = []
    return {
        "openapi": "3.1.0",
        "info": {
            "title": contract.title,
            "version": str(version),
            "description": f"Version {version} of the model `{contract.name}`, which predicts:"
            f" {described(contract.target)} Served by mlref {__version__}. A request has up to"
            f" {limits.rows} rows and {limits.body(contract)} bytes.",
        },
        # a service on another address than loopback asks for a key
        "security": [{}, {"key": []}],
        "paths": paths,
        "components": {
            "schemas": {**schemas(contract, limits), **protocols.schemas(contract, limits)},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _predict(contract: Contract, version: int | str) -> Schema:
    operation = _post("model", "predict", "Predict rows", "PredictRequest", "PredictResponse")
    operation["description"] = "One prediction with its interval per row, in the order of the rows."
    operation["parameters"] = [SUBJECT]
    examples = {
        "200": _prediction(contract, version),
        "400": _error("invalid_json", _NOT_JSON),
        "422": _refusal(contract),
        "500": _error("internal_server_error", FAILED),
    }
    for status, example in examples.items():
        operation["responses"][status]["content"]["application/json"]["example"] = example
    return operation


def _feedback(contract: Contract) -> Schema:
    operation = _post(
        "model", "feedback", "Store true outcomes", "FeedbackRequest", "FeedbackResponse"
    )
    operation["description"] = (
        "By the ids of predictions. Sent twice, a label counts as `duplicate`; with another value as"
        " `conflicting`, and is the label from now on; `unknown` are ids that the log does not have."
    )
    words = {"404": "The service keeps no log.", "422": "A label breaks the contract."}
    words["503"] = "The log cannot be reached; send the labels again."
    for status, word in words.items():
        operation["responses"][status] = _response(word, _json("Error"))
    return operation


def _operations() -> Schema:
    return {
        "/health/live": _get("operations", "live", "Say whether the process runs", "Health"),
        "/health/ready": _get(
            "operations", "ready", "Say whether predictions are answered", "Health", busy="Health"
        ),
        "/metrics": _text("operations", "metrics", "Give Prometheus its figures (role `admin`)"),
    }


def _mlflow(contract: Contract) -> Schema:
    invoke = _post(
        *("mlflow", "invoke", "Predict rows, as MLflow's clients ask"),
        *("InvocationsRequest", "InvocationsResponse"),
    )
    invoke["description"] = "The forms of a request to `mlflow models serve`; answers values only."
    ping = _text("mlflow", "ping", "Say whether predictions are answered")
    ping["get"]["responses"]["503"] = {"description": "The service is about to stop."}
    return {
        "/invocations": {"post": invoke},
        "/ping": ping,
        "/version": _text("mlflow", "version", "Say which mlref serves"),
    }


def _open_inference(contract: Contract, version: int | str) -> Schema:
    tag, error = "open inference", "InferError"
    paths = {
        "/v2": _get(tag, "server", "Describe the server", "Server", error),
        "/v2/health/live": _get(tag, "serverLive", "Say whether it runs", "Live", error),
        "/v2/health/ready": _get(
            tag, "serverReady", "Say whether it answers", "Ready", error, busy="Ready"
        ),
    }
    name = f"/v2/models/{contract.name}"
    for path, one in ((name, ""), (f"{name}/versions/{version}", "OfVersion")):
        infer = _post(tag, f"infer{one}", "Predict rows", "InferRequest", "InferResponse", error)
        infer["description"] = (
            "One input a column, of shape [n] or [n, 1], as JSON; outputs `value`, `lower`, `upper`."
        )
        paths |= {
            path: _get(tag, f"metadata{one}", "Describe the model", "Metadata", error),
            f"{path}/ready": _get(
                tag, f"modelReady{one}", "Say whether it answers", "ModelReady", error
            ),
            f"{path}/infer": {"post": infer},
        }
    return paths


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


def _json(name: str) -> Schema:
    return {"application/json": {"schema": ref(name)}}


def _response(description: str, content: Schema) -> Schema:
    header = {"description": "Id of this request, as sent or new.", "schema": {"type": "string"}}
    return {"description": description, "headers": {"x-request-id": header}, "content": content}


def _get(
    tag: str, name: str, summary: str, schema: str, error: str = "Error", busy: str = ""
) -> Schema:
    responses = _responses("The answer.", _json(schema), ANY, error)
    if busy:
        responses["503"] = _response("The service is about to stop.", _json(busy))
    return {"get": {"tags": [tag], "operationId": name, "summary": summary, "responses": responses}}


def _text(tag: str, name: str, summary: str) -> Schema:
    responses = _responses(
        "The answer.", {"text/plain": {"schema": {"type": "string"}}}, ANY, "Error"
    )
    return {"get": {"tags": [tag], "operationId": name, "summary": summary, "responses": responses}}


def _post(
    tag: str, name: str, summary: str, asked: str, answer: str, error: str = "Error"
) -> Schema:
    return {
        "tags": [tag],
        "operationId": name,
        "summary": summary,
        "requestBody": {"required": True, "content": _json(asked)},
        "responses": _responses("The answer.", _json(answer), ANY | POST, error),
    }


def _responses(good: str, content: Schema, refused: dict[str, str], error: str) -> Schema:
    refusals = {status: _response(words, _json(error)) for status, words in refused.items()}
    return dict(sorted({"200": _response(good, content), **refusals}.items()))
