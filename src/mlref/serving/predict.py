"""``POST /v1/predict``: rows in, values with intervals and warnings out."""

from typing import Any

from mlref.bundle.predictor import Prediction
from mlref.serving.boundary import dumps
from mlref.serving.service import Asked, Service


def predict(service: Service, body: bytes, asked: Asked) -> bytes:
    """Answer one request."""
    model = service.model
    verdict = model.reader.read(body)
    ids, prediction = service.score(model, verdict, asked)
    rows = described(ids, prediction)
    for finding in verdict.unusual:
        rows[finding.row or 0]["warnings"].append(model.warnings[finding.column])
    return dumps({"model": model.named, "predictions": rows})


def described(ids: list[str], prediction: Prediction) -> list[dict[str, Any]]:
    """Predictions as the answer lists them: one object a row."""
    columns = (array.tolist() for array in prediction)
    return [
        {"id": one, "value": value, "lower": lower, "upper": upper, "warnings": []}
        for one, value, lower, upper in zip(ids, *columns, strict=True)
    ]
