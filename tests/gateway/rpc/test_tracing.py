"""JSON lines with ids of requests, and spans that reach a collector. Through real sockets."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from proto.tandem.v1 import tandem_pb2 as pb
from proto.tandem.v1 import tandem_pb2_grpc as rpc
from tests.support.gateway.gateway_process import GatewayProcess, context, free_port

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector:
    """An OTLP/HTTP receiver."""

    def __init__(self) -> None:
        self.spans: list = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    one = Collector()
    yield one
    one.server.shutdown()


@pytest.fixture(scope="module")
def gateway(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    endpoint = f"http://127.0.0.1:{collector.server.server_port}/v1/traces"
    told = {"log_format": "json", "tracing": f"{{endpoint: '{endpoint}', share: 0}}"}
    with GatewayProcess(tmp_path_factory.mktemp("traced") / "w", workers=1, **told) as running:
        yield running


def _ask(gateway: GatewayProcess, merchant: str = "books", **metadata: str) -> grpc.Call:
    with grpc.insecure_channel(gateway.address) as channel:
        request = pb.GetBannerRequest(context=context(merchant=merchant), slots=2)
        given = [(name.replace("_", "-"), value) for name, value in metadata.items()]
        try:
            return rpc.BannerServiceStub(channel).GetBanner.with_call(request, timeout=5, metadata=given)[1]
        except grpc.RpcError as error:
            return error  # type: ignore[return-value]


def _id(call: grpc.Call) -> str:
    return dict(call.trailing_metadata())["x-request-id"]


def test_lines_are_json_and_name_the_request_that_they_are_about(gateway: GatewayProcess) -> None:
    assert _id(_ask(gateway, x_request_id="mine-1")) == "mine-1"
    assert _id(_ask(gateway, merchant="nowhere", x_request_id="mine-2")) == "mine-2"
    assert len(_id(_ask(gateway))) == 16 != _id(_ask(gateway, x_request_id="two words"))
    gateway.wait_for("mine-2")
    lines = [json.loads(line) for line in gateway.said().splitlines()]
    assert all({"time", "level", "logger", "process", "message"} <= set(line) for line in lines)
    (refused,) = [line for line in lines if line.get("request_id") == "mine-2"]
    assert refused["message"].startswith("GetBanner refused: NOT_FOUND: ") and refused["level"] == "WARNING"


def test_a_callers_trace_goes_on_with_a_span_for_the_call_and_one_for_each_stage(
    gateway: GatewayProcess, collector: Collector
) -> None:
    _ask(gateway)  # of the share of traces that begin here: none
    _ask(gateway, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
    _ask(gateway, merchant="nowhere", traceparent=f"00-{TRACE}-00f067aa0ba902b8-01")
    gateway.until(lambda: len([span for span in collector.spans if span.name.endswith("/GetBanner")]) == 2)
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    good, bad = sorted(
        (span for span in collector.spans if span.name.endswith("/GetBanner")), key=lambda one: one.status.code
    )
    assert good.parent_span_id.hex() == "00f067aa0ba902b7" and bad.status.code == 2
    stages = [span for span in collector.spans if span.parent_span_id == good.span_id]
    assert {"parse", "gbo", "pool", "ranker", "fill", "log"} <= {span.name for span in stages}
    assert good.start_time_unix_nano == min(span.start_time_unix_nano for span in stages)
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in stages)
    attributes = {one.key: one.value.string_value for one in good.attributes}
    assert attributes["tandem.population"] and attributes["rpc.method"] == "GetBanner"


@pytest.mark.slow
def test_a_collector_that_is_not_there_costs_no_answer(tmp_path: Path) -> None:
    tracing = f"{{endpoint: 'http://127.0.0.1:{free_port()}/v1/traces', share: 1}}"
    with GatewayProcess(tmp_path / "w", workers=1, tracing=tracing) as running, running.client(retry=False) as client:
        assert all(client.get_banner(context(), slots=2).slots for _ in range(20))
