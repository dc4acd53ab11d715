"""The application: routes around one loaded bundle."""

import html
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.routing import Route

from mlref import __version__
from mlref.bundle.predictor import Predictor
from mlref.errors import MlrefError
from mlref.rows import Verdict
from mlref.serving import inference
from mlref.serving import invocations as mlflow_form
from mlref.serving.boundary import Boundary, Call, answer, handle
from mlref.serving.keys import Keys
from mlref.serving.limits import Limits
from mlref.serving.metrics import Metrics
from mlref.serving.model import Served
from mlref.serving.score import Log, Scorer


def create_app(
    predictor: Predictor,
    record: dict[str, Any],
    limits: Limits | None = None,
    keys: Keys | None = None,
    log: Log | None = None,
) -> Boundary:
    """Make the service of one model.

    Parameters
    ----------
    predictor : Predictor
        The loaded bundle.
    record : dict
        Its registration record in the bundle store.
    limits : Limits, optional
        What a request may cost.
    keys : Keys, optional
        Who may ask; everybody when there are none.
    log : Log, optional
        Where predictions are kept.
    """
    served = Served(predictor, record)
    metrics = Metrics(served)
    scorer = Scorer(served, metrics, log)

    def predict(call: Call) -> bytes:
        """Judge the rows of a request and predict them."""
        served, verdict, scored = scorer.score(lambda served: served.reader.read(call.body), call)
        return served.answer(scored, verdict.unusual)

    def invocations(call: Call) -> bytes:
        """Predict rows as MLflow's clients send them."""
        read = mlflow_form.read
        return mlflow_form.write(scorer.score(lambda it: read(it.contract, call.body), call).scored)

    def infer(call: Call) -> bytes:
        """Predict rows as clients of the Open Inference Protocol send them."""
        request: dict[str, Any] = {}

        def read(served: Served) -> Verdict:
            verdict, given = inference.read(served.contract, call.body)
            request.update(given)
            return verdict

        return inference.write(scorer.score(read, call), request)

    # Plain routes: their answers are known, so FastAPI's own model of each would be a second judge.
    async def show_model(request: Request) -> Response:
        """Tell which model answers, and what it takes."""
        served = scorer.served
        contract = served.contract.model_dump(mode="json")
        return answer({"model": served.name, "record": served.record, "contract": contract})

    async def live(request: Request) -> Response:
        """Say that the process runs."""
        return answer({"status": "live"})

    async def ready(request: Request) -> Response:
        """Say that the model is loaded and predictions are answered."""
        if boundary.draining:
            return answer({"status": "draining"}, 503)
        return answer({"status": "ready"})

    async def ping(request: Request) -> Response:
        """Say that predictions are answered, as MLflow does."""
        return Response("\n", 503 if boundary.draining else 200, media_type="text/plain")

    async def show_version(request: Request) -> Response:
        """Tell the version of the server, where MLflow tells its own."""
        return Response(__version__, media_type="text/plain")

    async def server(request: Request) -> Response:
        """Tell what the Open Inference Protocol tells of a server."""
        return answer(inference.SERVER)

    async def server_live(request: Request) -> Response:
        """Say so in the words of the protocol."""
        return answer({"live": True})

    async def server_ready(request: Request) -> Response:
        """Say so in the words of the protocol."""
        return answer({"ready": not boundary.draining}, 503 if boundary.draining else 200)

    async def show_inputs(request: Request) -> Response:
        """Tell what the protocol tells of a model."""
        return answer(inference.metadata(scorer.served))

    async def model_ready(request: Request) -> Response:
        """Say so of the one model that there is."""
        name = scorer.served.contract.name
        return answer(
            {"name": name, "ready": not boundary.draining}, 503 if boundary.draining else 200
        )

    async def show_metrics(request: Request) -> Response:
        """Give the metrics to Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    app = FastAPI(
        title=served.contract.title,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        exception_handlers={HTTPException: handle, MlrefError: handle},
    )
    app.openapi = lambda: scorer.served.schema  # type: ignore[method-assign]
    app.add_route("/v1/model", show_model, methods=["GET"])
    app.add_route("/health/live", live, methods=["GET"])
    app.add_route("/health/ready", ready, methods=["GET"])
    app.add_route("/metrics", show_metrics, methods=["GET"])
    app.add_route("/ping", ping, methods=["GET"])
    app.add_route("/version", show_version, methods=["GET"])
    app.add_route("/v2", server, methods=["GET"])
    app.add_route("/v2/health/live", server_live, methods=["GET"])
    app.add_route("/v2/health/ready", server_ready, methods=["GET"])
    model = f"/v2/models/{served.contract.name}"
    models = (model, f"{model}/versions/{served.version}")
    for path in models:
        app.add_route(path, show_inputs, methods=["GET"])
        app.add_route(f"{path}/ready", model_ready, methods=["GET"])
    _add_docs(app)
    scoring = {"/v1/predict": predict, "/invocations": invocations}
    scoring |= {f"{path}/infer": infer for path in models}
    metrics.routes = {*scoring, *(route.path for route in app.routes if isinstance(route, Route))}
    boundary = Boundary(app, scoring, limits or Limits(), keys or Keys(), metrics)
    return boundary


_DOCS_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; frame-ancestors 'none'"
)
"""Swagger UI starts from a script inside the page; nothing comes from another host."""


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
        page.headers["content-security-policy"] = _DOCS_POLICY
        return page

    async def root(request: Request) -> Response:
        """Lead a browser to the page."""
        return RedirectResponse("docs")

    app.mount("/swagger", assets)
    app.add_route("/docs", docs, methods=["GET"], include_in_schema=False)
    app.add_route("/", root, methods=["GET"], include_in_schema=False)
