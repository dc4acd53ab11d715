"""The application: routes around one loaded bundle."""

import html
import uuid
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse

from mlref.bundle.predictor import Prediction, Predictor
from mlref.errors import Finding, MlrefError
from mlref.rows import Verdict
from mlref.serving.boundary import Boundary, answer, handle
from mlref.serving.decode import read
from mlref.serving.openapi import document


def create_app(predictor: Predictor, record: dict[str, Any]) -> FastAPI:
    """Make the service of one model.

    Parameters
    ----------
    predictor : Predictor
        The loaded bundle.
    record : dict
        Its registration record in the bundle store.
    """
    contract = predictor.contract
    model = {"name": contract.name, "version": record["version"], "digest": predictor.digest}
    about = {"model": model, "record": record, "contract": contract.model_dump(mode="json")}
    schema = document(contract, record["version"])

    # Plain routes: the rows are judged by the contract, so FastAPI's own reading of parameters and
    # its model of each response would be a second judge, and most of the cost of a request.
    async def predict(request: Request) -> Response:
        """Judge the rows of a request and predict them."""
        verdict = read(contract, await request.body())
        rows = described(verdict, predictor.predict(verdict.array))
        return answer({"model": model, "predictions": rows})

    async def show_model(request: Request) -> Response:
        """Tell which model answers, and what it takes."""
        return answer(about)

    async def live(request: Request) -> Response:
        """Say that the process runs."""
        return answer({"status": "live"})

    async def ready(request: Request) -> Response:
        """Say that the model is loaded and predictions are answered."""
        return answer({"status": "ready"})

    app = FastAPI(
        title=contract.title,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        middleware=[Middleware(Boundary)],
        exception_handlers={HTTPException: handle, MlrefError: handle},
    )
    app.openapi = lambda: schema  # type: ignore[method-assign]
    app.add_route("/v1/predict", predict, methods=["POST"])
    app.add_route("/v1/model", show_model, methods=["GET"])
    app.add_route("/health/live", live, methods=["GET"])
    app.add_route("/health/ready", ready, methods=["GET"])
    _add_docs(app)
    return app


def described(verdict: Verdict, prediction: Prediction) -> list[dict[str, Any]]:
    """Predictions as the answer lists them: one object a row, with a warning per unusual value."""
    columns = (array.tolist() for array in prediction)
    rows: list[dict[str, Any]] = [
        {"id": new_id(), "value": value, "lower": lower, "upper": upper, "warnings": []}
        for value, lower, upper in zip(*columns, strict=True)
    ]
    for finding in verdict.unusual:
        rows[finding.row or 0]["warnings"].append(warning(finding))
    return rows


def warning(finding: Finding) -> str:
    """The sentence about a value that is possible but unusual."""
    return f"{finding.column} is unusual: expected {finding.allowed}."


def new_id() -> str:
    """A new unique id of a prediction."""
    return uuid.uuid4().hex


def _add_docs(app: FastAPI) -> None:
    """Serve Swagger UI at /docs from the fastapi_swagger package, which has its files.

    Its own ``patch_fastapi`` writes absolute addresses into the page, which break behind a proxy
    that speaks HTTPS, and reads its files by a function that Python 3.11 and 3.12 warn of.
    """
    assets = StaticFiles(packages=[("fastapi_swagger", "resources")])

    async def docs(request: Request) -> Response:
        """Show the page."""
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title=html.escape(app.title),
            swagger_js_url="swagger/swagger-ui-bundle.js",
            swagger_css_url="swagger/swagger-ui.css",
            swagger_favicon_url="swagger/favicon-32x32.png",
            # validatorUrl: without it the page may send the schema to a public validator
            swagger_ui_parameters={"tryItOutEnabled": True, "validatorUrl": None},
        )

    async def root(request: Request) -> Response:
        """Lead a browser to the page."""
        return RedirectResponse("docs")

    app.mount("/swagger", assets)
    app.add_route("/docs", docs, methods=["GET"], include_in_schema=False)
    app.add_route("/", root, methods=["GET"], include_in_schema=False)
