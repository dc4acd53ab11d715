"""Whatever is sent, by the document or against it: no failure of ours, no answer that is not documented."""

from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from mlref.serving.app import create_app
from mlref.serving.model import Service

MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    schemathesis.checks.not_a_server_error,
]


def send(app: FastAPI, examples: int) -> int:
    """Send examples to each operation, in keeping with its schema and not; how many were sent."""
    sent = 0
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in MODES:
            if operation.method == "get" and mode is GenerationMode.NEGATIVE:
                continue

            @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def answered(case: Any) -> None:
                nonlocal sent
                sent += 1
                case.call_and_validate(checks=CHECKS)

            answered()
    return sent


@pytest.fixture
def app(service: Service) -> FastAPI:
    """The application with every route."""
    nothing = dict.fromkeys(("accepted", "duplicate", "conflicting", "unknown"), list[str]())
    return create_app(service, store=lambda labels: nothing)


def test_no_request_makes_the_service_fail(app: FastAPI) -> None:
    assert send(app, 3) >= 24


@pytest.mark.load
def test_two_hundred_requests_do_not_make_the_service_fail(app: FastAPI) -> None:
    assert send(app, 30) >= 200


@pytest.mark.full
def test_two_thousand_requests_do_not_make_the_service_fail(app: FastAPI) -> None:
    assert send(app, 300) >= 2000
