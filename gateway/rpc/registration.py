"""The server of one worker: the four services behind their interceptors, health and reflection."""

from collections.abc import Sequence
from typing import cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from data.eventlog import LogWriter
from gateway.experiment.populations import WatchedExperiment
from gateway.log.display_log import DisplayLog
from gateway.log.rate_limited import RateLimitedLog
from gateway.metrics import Metrics
from gateway.rpc.banner_service import BannerService
from gateway.rpc.candidate_service import CandidateService
from gateway.rpc.interceptors import (
    Admission,
    CallInterceptor,
    Intercepted,
    Reading,
    Refusals,
    keep_quiet_about_bytes,
)
from gateway.rpc.observing import Counting
from gateway.rpc.ranker_service import RankerService
from gateway.rpc.serving import Serving
from gateway.rpc.tracking_service import TrackingService
from gateway.settings.tiers import Tier
from proto.tandem.v1 import tandem_pb2 as pb
from proto.tandem.v1 import tandem_pb2_grpc as rpc


async def make_server(
    serving: Serving,
    experiment: WatchedExperiment,
    writer: LogWriter | None,
    options: Sequence[tuple[str, object]],
    metrics: Metrics | None = None,
    guards: Sequence[CallInterceptor] = (),
    previews: Sequence[CallInterceptor] = (),
    tier: Tier | None = None,
    traced: Sequence[CallInterceptor] = (),
) -> tuple[grpc.aio.Server, HealthServicer, Admission]:
    """The server, which has no port yet, its health service, and how many calls it answers.

    Args:
        writer: of the log; None for a tier, which logs nothing.
        metrics: where calls are counted. guards, previews: what stands before admission, and behind the reading.
        tier: the one stage to serve, if not all. traced: what gives calls their ids and spans.
    """
    keep_quiet_about_bytes()
    log_failures, admission = RateLimitedLog(), Admission(serving.limits.in_flight)
    counting = [Counting(metrics, serving.watch)] if metrics is not None and serving.watch is not None else []
    interceptors = [Refusals(log_failures), *traced, *counting, *guards, admission, Reading(), *previews]
    server = grpc.aio.server(options=options)
    ours = cast(grpc.aio.Server, Intercepted(server, interceptors))
    served = []
    displays = None if writer is None else DisplayLog(writer, serving.limits.log_ms / 1e3)
    if tier in (None, "candidates"):
        rpc.add_CandidateServiceServicer_to_server(CandidateService(serving, experiment, displays, log_failures), ours)
        served.append("CandidateService")
    if tier in (None, "ranker"):
        rpc.add_RankerServiceServicer_to_server(RankerService(serving), ours)
        served.append("RankerService")
    if writer is not None and displays is not None:
        rpc.add_BannerServiceServicer_to_server(BannerService(serving, experiment, displays, log_failures), ours)
        rpc.add_TrackingServiceServicer_to_server(TrackingService(writer, serving), ours)
        served += ["BannerService", "TrackingService"]
    names = [pb.DESCRIPTOR.services_by_name[name].full_name for name in served]
    servicer = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    for name in ("", *names):
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return server, servicer, admission
