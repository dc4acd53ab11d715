"""Addresses about the service itself: the model in use, health and metrics."""

from fastapi import APIRouter, Request, Response
from msgspec.structs import asdict, astuple
from prometheus_client import exposition

from mlref.serving.model import Service
from mlref.serving.schemas import TEXT


def router(service: Service) -> APIRouter:
    """Make the routes."""
    router = APIRouter(tags=["operations"])

    @router.get("/v1/model")
    async def model() -> dict[str, object]:
        """Describe the model in use: its record and its contract."""
        model = service.model
        contract = model.contract.model_dump(mode="json", exclude={"source"})
        return {"model": asdict(model.named), "record": model.record, "contract": contract}

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        """Say that the process runs."""
        return {"status": "live"}

    @router.get("/health/ready")
    async def ready(response: Response) -> dict[str, str]:
        """Say whether predictions are answered: 503 once the service is about to stop."""
        if service.draining:
            response.status_code = 503
        return {"status": "draining" if service.draining else "ready"}

    @router.get("/metrics", response_class=Response, responses={200: TEXT})
    def metrics(request: Request) -> Response:  # in a thread, since the log is a database
        """Give Prometheus its metrics; needs a key of the role `admin`."""
        model = service.model
        service.metrics.info.clear()
        service.metrics.info.labels(*astuple(model.named)).set(1)
        service.metrics.loaded.set(model.loaded)
        encode, media = exposition.choose_encoder(request.headers.get("accept", ""))
        return Response(encode(service.metrics.registry), media_type=media)

    return router
