"""The application factory: routes, the middleware, exception handlers and pages."""

import html
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import Lifespan

from mlref import __version__
from mlref.serving import (
    feedback,
    mlflow_protocol,
    monitor,
    open_inference,
    operations,
    predict,
)
from mlref.serving.errors import Error, respond
from mlref.serving.keys import ApiKeys
from mlref.serving.middleware import Middleware
from mlref.serving.model import Service
from mlref.serving.open_inference import InferError, InferRequest
from mlref.serving.schemas import components, described, feedback_request, refusals

PAGE = Path(__file__).parent / "page"
PAGE_POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"
DOCS_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; frame-ancestors 'none'"
)
"""What the pages may load; Swagger's has a script inside."""


def create_app(
    service: Service,
    keys: ApiKeys | None = None,
    store: feedback.Store | None = None,
    lifespan: Lifespan[FastAPI] | None = None,
    origins: Sequence[str] = (),
    show: monitor.Show = monitor.nothing,
) -> FastAPI:
    """Put the application together.

    Parameters
    ----------
    service : Service
        The model in use, with its log and metrics.
    keys : ApiKeys, optional
        The known keys; without any, no request needs one.
    store : callable, optional
        Stores labels; without it there is no feedback.
    lifespan : callable, optional
        What runs beside the requests.
    origins : sequence of str
        Whose pages may read answers (CORS); without any, no other page may.
    show : callable, optional
        Reads what the monitor left.
    """
    app = FastAPI(
        title=service.model.contract.title,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    answer = partial(respond, forms={"/v2": open_inference.error_body})

    async def on_error(request: Request, error: Exception) -> Response:
        """Answer for an address or a method that is not there; every other error passes to the middleware."""
        return answer(error, request.url.path, request.state.context.id)

    app.add_middleware(Middleware, service=service, keys=keys or ApiKeys(), respond=answer)
    if origins:  # outermost, since a browser asks first without a key
        app.add_middleware(
            CORSMiddleware, allow_origins=[*origins], allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id", "x-subject-id"],
            expose_headers=["x-request-id"],
        )  # fmt: skip
    app.add_exception_handler(HTTPException, on_error)
    routers = [predict.router(service), operations.router(service), mlflow_protocol.router(service)]
    if store:
        routers.append(feedback.router(service, store))
    for router in routers:
        app.include_router(router, responses=refusals())
    app.include_router(open_inference.router(service), responses=refusals("InferError"))
    app.include_router(monitor.router(show))
    _add_pages(app)
    # FastAPI's own way to another document, which mypy takes for a mistake
    app.openapi = lambda: app.openapi_schema or _document(app, service)  # type: ignore[method-assign]
    return app


def _document(app: FastAPI, service: Service) -> dict[str, Any]:
    """Write the OpenAPI document once; what FastAPI cannot see are keys and bodies read by hand."""
    model = service.model
    contract, limits = model.contract, model.limits
    document = get_openapi(
        title=app.title,
        version=__version__,
        summary=described(contract.target),
        description=f"The model `{contract.name}`. A request has up to {limits.rows:,} rows and"
        f" {limits.bytes:,} bytes. Of two equal keys in an object the last one counts.",
        routes=app.routes,
    )
    feedback_type = feedback_request(contract, limits.rows)
    parts = components(
        *(model.reader.type, predict.PredictResponse, feedback_type, Error),
        *(mlflow_protocol.InvocationRequest, InferRequest, InferError),
    )
    scheme = {"key": {"type": "http", "scheme": "bearer"}}
    document["components"] = {"schemas": parts, "securitySchemes": scheme}
    document["security"] = [{}, {"key": []}]  # where the service has none, nobody needs one
    app.openapi_schema = document
    return document


def _add_pages(app: FastAPI) -> None:
    """Serve the page for people at / and Swagger UI at /docs, with no file from another host."""
    app.mount("/page", StaticFiles(directory=PAGE))
    app.mount("/swagger", StaticFiles(packages=[("fastapi_swagger", "resources")]))
    docs = get_swagger_ui_html(
        openapi_url="openapi.json",  # relative addresses work behind a proxy
        title=html.escape(app.title),
        swagger_js_url="swagger/swagger-ui-bundle.js",
        swagger_css_url="swagger/swagger-ui.css",
        swagger_favicon_url="swagger/favicon-32x32.png",
        # validatorUrl: without it the page may send the schema to a public validator
        swagger_ui_parameters={"tryItOutEnabled": True, "validatorUrl": None},
    )
    docs.headers["content-security-policy"] = DOCS_POLICY

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        """A form that asks for a prediction."""
        return FileResponse(PAGE / "index.html", headers={"content-security-policy": PAGE_POLICY})

    @app.get("/docs", include_in_schema=False)
    async def swagger() -> Response:
        """Swagger UI."""
        return docs
