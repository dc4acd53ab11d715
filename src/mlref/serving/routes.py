"""Routes beside the hot path."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from mlref.serving.boundary import dumps

Endpoint = Callable[[Request], Awaitable[Response]]


class Named(Route):
    """A route that leaves itself in the scope, as FastAPI's own do, so that the metrics know its path."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Say whether a request is for this route."""
        match, child = super().matches(scope)
        return match, {**child, "route": self}


def add(app: FastAPI, method: str, path: str, endpoint: Endpoint) -> None:
    """Add a route whose place in the OpenAPI document is :mod:`mlref.serving.openapi`."""
    app.router.routes.append(Named(path, endpoint, methods=[method]))


def answer(content: object, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(dumps(content), status, media_type="application/json")
