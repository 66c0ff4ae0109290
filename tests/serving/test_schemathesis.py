"""What OpenAPI describes is what is answered, and nothing that a request says fails the server."""

from __future__ import annotations

from pathlib import Path

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from schemathesis import checks  # noqa: E402
from schemathesis.core.failures import FailureGroup  # noqa: E402
from schemathesis.specs.openapi import checks as openapi_checks  # noqa: E402

from facerec.serving.app import Settings, create_app  # noqa: E402
from facerec.serving.audit import Audit  # noqa: E402
from facerec.serving.service import Engines, Service  # noqa: E402

EXAMPLES = 12
HERE = {"Host": "127.0.0.1"}
# Not: that what is of the described form is accepted. Random bytes are no photo.
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def api(engines: Engines, profile, portraits: dict[str, Path], tmp_path_factory):
    """The description of a server with one person."""
    from fastapi.testclient import TestClient

    address = tmp_path_factory.mktemp("serve") / "g.h5"
    service = Service(engines, profile, str(address), Audit(None))
    app = create_app(service, Settings())
    photo = next(iter(portraits.values())).read_bytes()
    client = TestClient(app, base_url="http://127.0.0.1")
    assert client.post("/api/v1/recognition/faces?subject=Grace", files={"file": photo}).is_success
    yield schemathesis.openapi.from_asgi("/openapi.json", app, headers=HERE)
    service.close()


@pytest.mark.slow
def test_requests_of_all_kinds_are_answered_as_described(api):
    problems = []
    for found in api.get_all_operations():
        operation = found.ok()
        # It has no end: tested with cameras.
        if operation.path.endswith("/events"):
            continue

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def check(case):
            case.call_and_validate(headers=HERE, checks=CHECKS)

        try:
            check()
        except FailureGroup as error:
            problems.append(f"{operation.label}: {error.exceptions}")
    assert not problems, "\n\n".join(problems)
