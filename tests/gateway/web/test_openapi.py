"""The HTTP server does what its OpenAPI document says: schemathesis makes the requests, through a real socket."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.web.api import MESSAGES
from gateway.web.openapi import document
from tests.support.gateway.gateway_process import GatewayProcess
from tests.support.gateway.web_process import WebProcess

SCHEMA = schemathesis.openapi.from_dict(document(bearer=False))
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    root: Path = tmp_path_factory.mktemp("openapi") / "w"
    with (
        GatewayProcess(root, workers=1, total_ms=5000) as gateway,
        WebProcess(root, gateway.address, "--set", "http.timeout_ms=10000") as running,
    ):
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("name", MESSAGES)
def test_any_request_that_the_document_allows_gets_an_answer_that_it_describes(web: WebProcess, name: str) -> None:
    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(case=SCHEMA[f"/v1/{name}"]["POST"].as_strategy())
    def ask(case: schemathesis.Case) -> None:
        response = case.call(base_url=web.origin)
        case.validate_response(response, checks=list(CHECKS))

    ask()
    assert web.process.poll() is None
