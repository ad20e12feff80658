"""`BannerService`: decode, assign, run the stages, encode."""

from functools import partial

import grpc

from data.eventlog import LogWriter
from gateway.banner.assembly import banner_stages, candidates_per_source
from gateway.banner.filling import Filling
from gateway.banner.stages import clock_us, start
from gateway.errors import GatewayError
from gateway.experiment.populations import Assignment, WatchedExperiment
from gateway.log.displays import LogDisplay
from gateway.log.rate_limited import RateLimitedLog
from gateway.rpc.decoding import check_count
from gateway.rpc.encoding import banner_response
from gateway.rpc.refusals import invalid
from gateway.rpc.serving import Serving
from gateway.wire import SLOTS
from proto.tandem.v1 import tandem_pb2 as pb
from proto.tandem.v1 import tandem_pb2_grpc as rpc


class BannerService(rpc.BannerServiceServicer):
    """Whole banners."""

    def __init__(
        self, serving: Serving, experiment: WatchedExperiment, writer: LogWriter, log_failures: RateLimitedLog
    ) -> None:
        self._serving, self._experiment = serving, experiment
        self._writer, self._log_failures = writer, log_failures

    async def GetBanner(self, message: pb.GetBannerRequest, context: grpc.aio.ServicerContext) -> pb.GetBannerResponse:
        arrived, serving = clock_us(), self._serving
        runtime, limits = serving.runtime, serving.limits
        count = check_count("slots", message.slots, SLOTS)
        request = serving.request_of(message.context)
        assigned = self._assigned(message)
        log = None if message.preview else LogDisplay(self._writer, runtime, assigned, self._log_failures)
        per_source = candidates_per_source(count, limits.per_source)
        asked = Filling(request=request, per_source=per_source, slot_count=count)
        progress = start(asked, banner_stages(runtime, assigned.population.sources, limits, log), arrived).lap("parse")

        encode = partial(banner_response, assigned, runtime)
        return await serving.runner.run(progress, encode, serving.ends(context))

    def _assigned(self, message: pb.GetBannerRequest) -> Assignment:
        if message.population and not message.preview:
            raise invalid("population is given without preview; expected it only in a preview, for users are assigned")
        try:
            return self._experiment.current.assignment(message.context.user_id, message.population)
        except GatewayError as error:
            raise invalid(f"population: {error}") from None
