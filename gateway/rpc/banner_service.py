"""`BannerService`: decode, assign, run the stages, encode."""

from dataclasses import dataclass
from functools import partial

import grpc

from gateway.banner.assembly import banner_stages, candidates_per_source, off_stages
from gateway.banner.filling import Filling
from gateway.banner.stages import Stage, clock_us, start
from gateway.banner.worker_threads import Encode
from gateway.errors import GatewayError
from gateway.experiment.populations import Assignment, WatchedExperiment
from gateway.log.display_log import DisplayLog
from gateway.log.displays import LogDisplay
from gateway.log.rate_limited import RateLimitedLog
from gateway.rpc.decoding import check_count
from gateway.rpc.encoding import banner_response, known_beforehand
from gateway.rpc.refusals import invalid
from gateway.rpc.serving import Serving
from gateway.wire import SLOTS
from proto.tandem.v1 import tandem_pb2 as pb
from proto.tandem.v1 import tandem_pb2_grpc as rpc


@dataclass(frozen=True)
class _Way:
    """How the users of one population are answered: the stages of their banners, with and without a log, and how the
    answer is written."""

    assigned: Assignment
    logged: tuple[Stage[Filling], ...]
    preview: tuple[Stage[Filling], ...]
    encode: Encode[Filling, bytes]


class BannerService(rpc.BannerServiceServicer):
    """Whole banners."""

    def __init__(
        self, serving: Serving, experiment: WatchedExperiment, log: DisplayLog, log_failures: RateLimitedLog
    ) -> None:
        self._serving, self._experiment = serving, experiment
        self._log, self._log_failures = log, log_failures
        self._ways: dict[tuple[str, str], _Way] = {}

    async def GetBanner(self, message: pb.GetBannerRequest, context: grpc.aio.ServicerContext) -> bytes:
        arrived, serving = clock_us(), self._serving
        count = check_count("slots", message.slots, SLOTS)
        request = serving.request_of(message.context)
        way = self._way(self._assigned(message), message.context.merchant_id)
        per_source = candidates_per_source(count, serving.limits.per_source)
        asked = Filling(request=request, per_source=per_source, slot_count=count)
        stages = way.preview if message.preview else way.logged
        stages = serving.recalled(message.context, request, stages, way.assigned.population.rules.seen_seconds)
        progress = start(asked, stages, arrived).lap("parse")

        return await serving.runner.run(progress, way.encode, serving.ends(context))

    def _assigned(self, message: pb.GetBannerRequest) -> Assignment:
        if message.population and not message.preview:
            raise invalid("population is given without preview; expected it only in a preview, for users are assigned")
        try:
            return self._experiment.current.assignment(message.context.user_id, message.population)
        except GatewayError as error:
            raise invalid(f"population: {error}") from None

    def _way(self, assigned: Assignment, merchant: str) -> _Way:
        """Made once for each population; anew when the populations file has changed."""
        population, runtime, limits = assigned.population, self._serving.runtime, self._serving.limits
        off = population.rules.switched_off.get(merchant, "") if population.rules.switched_off else ""
        way = self._ways.get((population.name, off))
        if way is None or way.assigned.experiment is not assigned.experiment:
            log = LogDisplay(self._log, runtime, assigned, self._log_failures)
            if off:
                logged, preview = (off_stages(runtime, off, limits, one) for one in (log, None))
            else:
                logged = banner_stages(runtime, population.sources, limits, log, population.rules)
                preview = logged[:-1]
            known = known_beforehand(assigned, runtime)
            encode = self._serving.watched(partial(banner_response, runtime, known), population.name)
            self._ways[population.name, off] = way = _Way(assigned, logged, preview, encode)
        return way
