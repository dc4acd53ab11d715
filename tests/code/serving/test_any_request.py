"""Whatever is sent, by the document or against it: no failure of ours, no answer that is not documented."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from mlref.serving.app import create_app
from mlref.serving.model import Service


@pytest.mark.load
def test_no_request_makes_the_service_fail(service: Service) -> None:
    import schemathesis  # seconds of imports
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi import checks

    asked = [
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
        schemathesis.checks.not_a_server_error,
    ]
    nothing = dict.fromkeys(("accepted", "duplicate", "conflicting", "unknown"), list[str]())
    app = create_app(service, store=lambda labels: nothing)
    sent = 0
    for found in schemathesis.openapi.from_asgi("/openapi.json", app).get_all_operations():
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if operation.method == "get" and mode is GenerationMode.NEGATIVE:
                continue

            @settings(max_examples=30, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def answered(case: Any) -> None:
                nonlocal sent
                sent += 1
                case.call_and_validate(checks=asked)

            answered()
    assert sent >= 200
