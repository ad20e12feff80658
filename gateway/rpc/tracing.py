"""OpenTelemetry: a span a sampled call, with a span for each stage of its answer."""

from typing import Any, cast

from google.protobuf.message import Message

from gateway.errors import GatewayError, RefusalError
from gateway.rpc.interceptors import Call, CallInterceptor, Context, Handler, handler_of
from gateway.settings.tracing import TracingSettings
from proto.tandem.v1 import tandem_pb2 as pb

_FLUSH_MS = 2000


class Tracing(CallInterceptor):
    """Spans of calls, sent by a thread of OpenTelemetry's own. Stands outermost but for ids."""

    def __init__(self, settings: TracingSettings) -> None:
        """Raises GatewayError: the extra `tracing` is not installed."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
            from opentelemetry.trace import SpanKind, Status, StatusCode
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError:
            raise GatewayError("tracing: expected the extra `tracing` of tandem-recommender to be installed") from None
        resource, sampler = Resource({"service.name": settings.service}), ParentBased(TraceIdRatioBased(settings.share))
        self._provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(settings.endpoint)))
        self._tracer, self._propagator = self._provider.get_tracer("tandem"), TraceContextTextMapPropagator()
        self._kind, self._failed = SpanKind.SERVER, lambda words: Status(StatusCode.ERROR, words)

    def around(self, handler: Handler, method: str) -> Handler:
        inner, name = cast(Call, handler.unary_unary), method.removeprefix("/")
        service, _, short = name.partition("/")
        always = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": short}

        async def call(message: bytes | Message, context: Context) -> Message:
            carrier = {key: value for key, value in context.invocation_metadata() or () if key.startswith("trace")}
            parent = self._propagator.extract(carrier)
            with self._tracer.start_as_current_span(
                name, parent, self._kind, always, record_exception=False, set_status_on_exception=False
            ) as span:
                try:
                    answer = await inner(message, context)
                except Exception as error:
                    code = error.status if isinstance(error, RefusalError) else type(error).__name__
                    span.set_attribute("rpc.grpc.status", code)
                    span.set_status(self._failed(str(error)))
                    raise
                if span.is_recording() and short == "GetBanner":
                    self._stages(span, cast(Any, answer))
                return answer

        return handler_of(call, handler.request_deserializer)

    def _stages(self, span: Any, answer: bytes | pb.GetBannerResponse) -> None:
        """What the answer says of itself: its stages follow each other from the span's beginning."""
        banner = pb.GetBannerResponse.FromString(answer) if isinstance(answer, bytes) else answer
        span.set_attributes(
            {
                "tandem.population": banner.population,
                "tandem.bundle_version": banner.bundle_version,
                "tandem.display_id": banner.display_id,
                "tandem.degraded": tuple(banner.degraded),
            }
        )
        at = span.start_time
        for stage in banner.stage_times:
            part = self._tracer.start_span(stage.stage, start_time=at)
            at += 1000 * stage.us
            part.end(at)

    def close(self) -> None:
        """Send what is left, for a moment."""
        self._provider.force_flush(_FLUSH_MS)


def tracing(settings: TracingSettings | None) -> tuple[Tracing, ...]:
    """Nothing without the section."""
    return () if settings is None else (Tracing(settings),)
