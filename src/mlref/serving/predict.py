"""``POST /v1/predict``: rows in, values with intervals and warnings out."""

from typing import Any

import msgspec
import numpy as np
from fastapi import APIRouter, Request, Response

from mlref.serving.model import ModelName, Service
from mlref.serving.schemas import content, takes


class Prediction(msgspec.Struct, gc=False):
    """A value with its interval, in the target's unit; `warnings` has a sentence for each unusual cell."""

    id: str
    value: float
    lower: float
    upper: float
    warnings: tuple[str, ...] = ()


class PredictResponse(msgspec.Struct):
    """The model that answered, and a prediction for each row."""

    model: ModelName
    predictions: list[Prediction]


def router(service: Service) -> APIRouter:
    """Make the route."""
    router = APIRouter(tags=["model"])
    body = takes("PredictRequest", {"instances": [service.model.contract.example]})
    responses: Any = {200: {"content": content("PredictResponse")}}

    @router.post("/v1/predict", responses=responses, openapi_extra=body)
    async def predict(request: Request) -> Response:
        """Predict rows: a value with its interval for each, in their order."""
        model = service.model
        with service.counting(model):
            given = model.reader.read(await request.body())
        ids, prediction = service.answer(model, given, request.state.context)
        rows = list(map(Prediction, ids, *(array.tolist() for array in prediction)))
        for row, column in np.argwhere(given.unusual):
            rows[row].warnings += (model.warnings[column],)
        answer = msgspec.json.encode(PredictResponse(model.named, rows))
        return Response(answer, media_type="application/json")

    return router
