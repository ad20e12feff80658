"""The four gRPC services of one worker: check, assign, assemble on a lane, log, answer."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, TypeVar

import grpc
import numpy as np

from data.eventlog import EventLogError, LogWriter
from data.ids import UNKNOWN
from data.request import Request
from gateway.banner.assembly import RANKER, Draft, Stopwatch, candidates_per_source
from gateway.banner.inline_path import Express
from gateway.banner.runtime import Runtime
from gateway.banner.similar import SimilarDraft, answer_of
from gateway.banner.worker_threads import Lanes
from gateway.errors import Complaints, GatewayError, RefusalError, invalid
from gateway.experiment.populations import Population, WatchedExperiment
from gateway.limits import Limits
from gateway.rpc.decoding import (
    check_count,
    checked_events,
    excluded_positions,
    ranked_positions,
    request_of,
    similar_to_position,
)
from gateway.rpc.encoding import add_stage_times, banner_response, display_record, explanations
from gateway.rpc.registration import Unreadable
from gateway.wire import CANDIDATES, REASONS, SIMILAR_ITEMS, SLOTS
from proto.tandem.v1 import tandem_pb2 as pb
from proto.tandem.v1 import tandem_pb2_grpc as rpc

Context = grpc.aio.ServicerContext
Request_ = TypeVar("Request_")
Response_ = TypeVar("Response_")

_SYNC_THREADS = 8
"""Tracked batches that may wait for the disk at once; those that wait together share an fsync."""


def _admitted(
    handler: Callable[["Services", Request_, Context], Awaitable[Response_]],
) -> Callable[["Services", Request_, Context], Awaitable[Response_]]:
    """Sheds load past the limit; turns what goes wrong in a handler into a status and one sentence."""

    @wraps(handler)
    async def admit(self: "Services", message: Request_ | Unreadable, context: Context) -> Response_:
        if self.in_flight >= self.limits.in_flight:
            sentence = f"{self.limits.in_flight} requests are being answered, the limit; try again later"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, sentence)
        if isinstance(message, Unreadable):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, message.sentence)
        self.in_flight += 1
        try:
            return await handler(self, message, context)
        except RefusalError as refusal:
            await context.abort(grpc.StatusCode[refusal.status], str(refusal))
        except EventLogError as error:
            self.complaints.tell(error)
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"the event log cannot be written: {error}")
        finally:
            self.in_flight -= 1

    return admit


class Services(
    rpc.BannerServiceServicer, rpc.CandidateServiceServicer, rpc.RankerServiceServicer, rpc.TrackingServiceServicer
):
    """What every request of one worker meets. All its state belongs to the event loop's thread, but for the log."""

    def __init__(
        self,
        runtime: Runtime,
        experiment: WatchedExperiment,
        log: LogWriter,
        limits: Limits,
        replay: bool,
        exclude_kinds: Collection[int] = (),
    ) -> None:
        self._runtime, self._experiment, self._log = runtime, experiment, log
        self.limits, self._replay, self._exclude_kinds = limits, replay, exclude_kinds
        self._lanes = Lanes(limits)
        self._express = Express(limits)
        self._disk = ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="disk")
        self.in_flight = 0
        self.complaints = Complaints()

    async def warm_up(self, requests: list[Request]) -> None:
        """Let every lane assemble some banners before anyone waits for one."""
        names, ends = list(self._runtime.sources), time.perf_counter() + 10
        drafts = [Draft(self._runtime, request, names, self.limits.per_source) for request in requests]
        await asyncio.gather(*(self._lanes.finish(draft, lambda done: done.banner(1), ends) for draft in drafts))

    @_admitted
    async def GetBanner(self, message: pb.GetBannerRequest, context: Context) -> pb.GetBannerResponse:
        watch = Stopwatch()
        check_count("slots", message.slots, SLOTS)
        request = self._request_of(message.context)
        population = self._population_of(message)
        experiment = self._experiment.current
        watch.lap("parse")
        per_source = candidates_per_source(message.slots, self.limits.per_source)
        draft = Draft(self._runtime, request, population.sources, per_source, watch=watch)

        def finish(done: Draft) -> pb.GetBannerResponse:
            banner = done.banner(message.slots)
            display_id = "" if message.preview else os.urandom(16).hex()
            response = banner_response(self._runtime, banner, experiment, population.name, display_id)
            if display_id:
                self._log_display(request, message.context.merchant_id, response, banner)
                done.watch.lap("log")
            add_stage_times(response, done.watch.stage_us)
            return response

        return await self._lanes.finish(draft, finish, self._ends(context))

    @_admitted
    async def GetCandidates(self, message: pb.GetCandidatesRequest, context: Context) -> pb.GetCandidatesResponse:
        watch = Stopwatch()
        check_count("k", message.k, CANDIDATES)
        check_count("explain", message.explain, REASONS, least=0)
        request = self._request_of(message.context, user_required=False)
        names = self._source_names(message.sources)
        watch.lap("parse")
        draft = Draft(self._runtime, request, names, message.k, rank=False, watch=watch)

        def finish(done: Draft) -> pb.GetCandidatesResponse:
            ids_at = self._runtime.items.items.ids_at
            found = [
                pb.SourceCandidates(
                    source=name,
                    item_ids=ids_at(proposal.items),
                    scores=proposal.scores.tolist(),
                )
                for name, proposal in done.proposals.items()
            ]
            done.watch.lap("fill")
            if message.explain:
                for one, proposal in zip(found, done.proposals.values(), strict=True):
                    one.explanations.extend(explanations(self._runtime, one.source, request, proposal, message.explain))
                done.watch.lap("explain")
            response = pb.GetCandidatesResponse(
                bundle_version=self._runtime.version, sources=found, degraded=done.degraded
            )
            add_stage_times(response, done.watch.stage_us)
            return response

        if not message.explain and self._express.takes(draft):  # reasons take milliseconds
            await asyncio.sleep(0)  # those that have arrived are counted first, so that a flood is refused
            return self._express.finish(draft, finish)
        return await self._lanes.finish(draft, finish, self._ends(context))

    @_admitted
    async def GetSimilarItems(self, message: pb.GetSimilarItemsRequest, context: Context) -> pb.GetSimilarItemsResponse:
        watch = Stopwatch()
        check_count("k", message.k, SIMILAR_ITEMS)
        items = self._runtime.items
        position = similar_to_position(message.item_id, message.country, items)
        exclude = excluded_positions("exclude_item_ids", message.exclude_item_ids, items)
        watch.lap("parse")
        draft = SimilarDraft(self._runtime, position, message.country, message.k, exclude, watch)

        def finish(done: Draft) -> pb.GetSimilarItemsResponse:
            found = answer_of(done)
            response = pb.GetSimilarItemsResponse(
                bundle_version=self._runtime.version,
                item_ids=items.items.ids_at(found.items),
                scores=found.scores.tolist(),
                basis=found.basis,
            )
            done.watch.lap("fill")
            add_stage_times(response, done.watch.stage_us)
            return response

        return await self._lanes.finish(draft, finish, self._ends(context))

    @_admitted
    async def Rank(self, message: pb.RankRequest, context: Context) -> pb.RankResponse:
        if self._runtime.scorer is None:
            raise RefusalError("FAILED_PRECONDITION", f"bundle {self._runtime.version} has no ranker")
        request = self._request_of(message.context, user_required=False)
        positions = ranked_positions(message.item_ids, request.merchant, self._runtime.items)
        known = np.unique(positions[positions != UNKNOWN])

        def finish(done: Draft) -> pb.RankResponse:
            scores = np.full(len(positions), np.nan, np.float32)
            if done.scores is not None:
                place = np.searchsorted(known, positions)
                there = positions != UNKNOWN
                scores[there] = done.scores[place[there]]
            elif len(known):
                raise RefusalError("UNAVAILABLE", "; ".join(done.degraded) or f"{RANKER}: no scores")
            return pb.RankResponse(bundle_version=self._runtime.version, scores=scores.tolist())

        draft = Draft.to_rank(self._runtime, request, known)
        return await self._lanes.finish(draft, finish, self._ends(context))

    @_admitted
    async def Track(self, message: pb.TrackRequest, context: Context) -> pb.TrackResponse:
        events = checked_events(message.events, self._replay)
        loop = asyncio.get_running_loop()
        # Shielded and counted: events on their way to the disk get there even if the caller stops waiting.
        durable = loop.run_in_executor(self._disk, self._log.append_tracked, events)
        self.in_flight += 1
        durable.add_done_callback(self._left)
        return pb.TrackResponse(durable=await asyncio.shield(durable))

    def _request_of(self, context: pb.Context, user_required: bool = True) -> Request:
        return request_of(context, self._runtime.items, self._replay, user_required, self._exclude_kinds)

    def _left(self, written: asyncio.Future[int]) -> None:
        self.in_flight -= 1
        if not written.cancelled():
            written.exception()  # the handler answers for it; a caller that left does not wait for it

    def _population_of(self, message: pb.GetBannerRequest) -> Population:
        experiment = self._experiment.current
        if not message.population:
            return experiment.population(experiment.assign(message.context.user_id))
        if not message.preview:
            raise invalid("population is given without preview; expected it only in a preview, for users are assigned")
        try:
            return experiment.population(message.population)
        except GatewayError as error:
            raise invalid(f"population: {error}") from None

    def _source_names(self, asked: Any) -> list[str]:
        known = self._runtime.sources
        for name in asked:
            if name not in known:
                raise invalid(f"sources: expected some of {', '.join(sorted(known))}, found {name!r:.80}")
        return list(dict.fromkeys(asked)) or list(known)

    def _ends(self, context: Context) -> float:
        """When the answer is due: our own limit, or the client's, less what the way back takes."""
        seconds = self.limits.total_ms / 1e3
        remaining = context.time_remaining()
        if remaining is not None:
            seconds = min(seconds, remaining - max(0.002, 0.1 * remaining))
        return time.perf_counter() + seconds

    def _log_display(self, request: Request, merchant_id: str, response: pb.GetBannerResponse, banner: Any) -> None:
        """A display that cannot be logged is shown all the same, marked, and without an id to answer to."""
        try:
            self._log.append_display(display_record(request, merchant_id, response, banner, self._runtime.items))
        except EventLogError as error:
            self.complaints.tell(error)
            response.display_id = ""
            response.degraded.append("log: not written")
