"""``POST /v1/predict``: rows in, values with intervals and warnings out."""

import msgspec

from mlref.serving.service import Asked, Service


class Row(msgspec.Struct, gc=False):
    """A prediction as the answer lists it; a thousand of them cost half of what dicts do."""

    id: str
    value: float
    lower: float
    upper: float
    warnings: tuple[str, ...] = ()


_encode = msgspec.json.Encoder().encode


def predict(service: Service, body: bytes, asked: Asked) -> bytes:
    """Answer one request."""
    model = service.model
    verdict = model.reader.read(body)
    ids, prediction = service.score(model, verdict, asked)
    rows = list(map(Row, ids, *(array.tolist() for array in prediction)))
    for violation in verdict.unusual:
        rows[violation.row or 0].warnings += (model.warnings[violation.column],)
    return _encode({"model": model.named, "predictions": rows})
