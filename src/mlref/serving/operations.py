"""Addresses about the service itself: the model in use, health and metrics."""

from fastapi import APIRouter, Request, Response
from prometheus_client import exposition

from mlref.serving.model import Service
from mlref.serving.schemas import TEXT, ModelAnswer


def router(service: Service) -> APIRouter:
    """Make the routes."""
    router = APIRouter(tags=["operations"])

    @router.get("/v1/model", response_model=ModelAnswer)
    async def model() -> object:
        """Describe the model in use: its record and its contract."""
        model = service.model
        contract = model.contract.model_dump(mode="json", exclude={"source"})
        return {"model": model.named, "record": model.record, "contract": contract}

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        """Say that the process runs."""
        return {"status": "live"}

    @router.get("/health/ready", responses={503: {"model": dict[str, str]}})
    async def ready(response: Response) -> dict[str, str]:
        """Say whether predictions are answered: 503 once the service is about to stop."""
        if service.draining:
            response.status_code = 503
        return {"status": "draining" if service.draining else "ready"}

    @router.get("/metrics", response_class=Response, responses={200: TEXT})
    async def metrics(request: Request) -> Response:
        """Give Prometheus its metrics; needs a key of the role `admin`."""
        encode, media = exposition.choose_encoder(request.headers.get("accept", ""))
        return Response(encode(service.metrics.registry), media_type=media)

    return router
