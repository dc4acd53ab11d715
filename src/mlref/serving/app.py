"""The application: one place that puts the routes together."""

import html

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from prometheus_client import exposition
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from mlref import __version__
from mlref.serving import openinference
from mlref.serving.feedback import Store, add_feedback
from mlref.serving.front import Front
from mlref.serving.invocations import invoke
from mlref.serving.keys import Keys
from mlref.serving.predict import predict
from mlref.serving.routes import add, answer
from mlref.serving.service import Service

PAGE = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; frame-ancestors 'none'"
)
"""What the documentation's page may load: its own files, the script inside it, and drawn pictures."""


def create_app(service: Service, keys: Keys | None = None, store: Store | None = None) -> Front:
    """Put the service together.

    Parameters
    ----------
    service : Service
        The model in use, with its log and metrics.
    keys : Keys, optional
        Who may ask; nobody is asked for a key without them.
    store : Store, optional
        Where labels go; without one there is no feedback.
    """
    app = FastAPI(
        title=service.model.contract.title,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        exception_handlers={HTTPException: _pass_on, Exception: _pass_on},
    )
    app.openapi = lambda: service.model.schema  # type: ignore[method-assign] # as FastAPI's manual does it
    _add_about(app, service)
    add_feedback(app, service, store)
    openinference.add_routes(app, service)
    _add_docs(app)
    handlers = {"/v1/predict": predict, "/invocations": invoke}
    return Front(service, handlers, app, keys or Keys(), openinference.error_body)


async def _pass_on(request: Request, error: Exception) -> Response:
    """Leave every error to the front, which has the one form of it."""
    raise error


def _add_about(app: FastAPI, service: Service) -> None:
    """Add what can be asked about the service itself."""

    async def show_model(request: Request) -> Response:
        """Tell which model answers, and what it takes."""
        model = service.model
        about = {"model": model.named, "record": model.record}
        return answer({**about, "contract": model.contract.model_dump(mode="json")})

    async def live(request: Request) -> Response:
        """Say that the process runs."""
        return answer({"status": "live"})

    async def ready(request: Request) -> Response:
        """Say that predictions are answered; not any more once the service is about to stop."""
        if service.draining:
            return answer({"status": "draining"}, 503)
        return answer({"status": "ready"})

    async def ping(request: Request) -> Response:
        """Say to a client of MLflow that predictions are answered."""
        return Response("\n", 503 if service.draining else 200, media_type="text/plain")

    async def version(request: Request) -> Response:
        """Say to a client of MLflow what serves."""
        return Response(__version__, media_type="text/plain")

    async def metrics(request: Request) -> Response:
        """Give Prometheus what it asks for."""
        encode, media = exposition.choose_encoder(request.headers.get("accept", ""))
        return Response(encode(service.metrics.registry), media_type=media)

    add(app, "GET", "/v1/model", show_model)
    add(app, "GET", "/health/live", live)
    add(app, "GET", "/health/ready", ready)
    add(app, "GET", "/ping", ping)
    add(app, "GET", "/version", version)
    add(app, "GET", "/metrics", metrics)


def _add_docs(app: FastAPI) -> None:
    """Serve Swagger UI at /docs from the fastapi_swagger package, which has its files.

    Its own ``patch_fastapi`` writes absolute addresses into the page, which break behind a proxy
    that speaks HTTPS, and reads its files by a function that Python 3.11 and 3.12 warn of.
    """
    assets = StaticFiles(packages=[("fastapi_swagger", "resources")])

    async def docs(request: Request) -> Response:
        """Show the page."""
        page = get_swagger_ui_html(
            openapi_url="openapi.json",
            title=html.escape(app.title),
            swagger_js_url="swagger/swagger-ui-bundle.js",
            swagger_css_url="swagger/swagger-ui.css",
            swagger_favicon_url="swagger/favicon-32x32.png",
            # validatorUrl: without it the page may send the schema to a public validator
            swagger_ui_parameters={"tryItOutEnabled": True, "validatorUrl": None},
        )
        page.headers["content-security-policy"] = PAGE
        return page

    async def root(request: Request) -> Response:
        """Lead a browser to the page."""
        return RedirectResponse("docs")

    app.mount("/swagger", assets)
    add(app, "GET", "/docs", docs)
    add(app, "GET", "/", root)
