"""Counts what calls come to and where their time goes. Nothing of this is in a call's way where nobody asked for it.

Answers are encoded on any thread, and stages run on any: they leave what is to be counted in queues, which the event
loop's thread counts as calls end.
"""

import time
from asyncio import CancelledError
from collections import deque
from collections.abc import Iterable
from typing import Any, cast

from google.protobuf.message import Message

from data.eventlog import EventLogError
from gateway.banner.filling import Slot
from gateway.banner.stages import Progress, StateT
from gateway.banner.worker_threads import AnswerT, Encode
from gateway.errors import RefusalError
from gateway.metrics import Counter, Histogram, Metrics
from gateway.rpc.interceptors import Call, CallInterceptor, Context, Handler, handler_of
from gateway.wire import Reason
from proto.tandem.v1 import tandem_pb2 as pb


class Watch:
    """What a worker counts of its answers."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._answers: deque[tuple[Progress[Any], str]] = deque()
        self._times: deque[tuple[str, float]] = deque()
        self._stages: dict[str, Histogram] = {}
        self._banners: dict[tuple[str, bool], Counter] = {}
        self._slots: dict[tuple[str, tuple[str, ...]], list[Counter]] = {}

    def encoding(self, encode: Encode[StateT, AnswerT], population: str = "") -> Encode[StateT, AnswerT]:
        """`encode`, with a look at what it encodes. `population`: of a banner."""

        def watched(done: Progress[StateT]) -> AnswerT:
            self._answers.append((done, population))
            return encode(done)

        return watched

    def told(self, stage: str, seconds: float) -> None:
        """A part of a stage took so long; from any thread."""
        self._times.append((stage, seconds))

    def tracked(self, events: Iterable[pb.TrackedEvent]) -> None:
        """Events are on disk."""
        for event in events:
            self._metrics.counter("tandem_tracked_total", kind=pb.EventKind.Name(event.kind).lower()).add()

    def count(self) -> None:
        """All that has been left to be counted."""
        while self._times:
            self._observe(*self._times.popleft())
        while self._answers:
            done, population = self._answers.popleft()
            for stage, us in done.laps:
                self._observe(stage, us * 1e-6)
            for stage, reason in done.left_out:
                self._metrics.counter("tandem_degraded_total", stage=stage, reason=reason).add()
            if population:
                self._banner(population, bool(done.state.display_id), done.state.slots)

    def _observe(self, stage: str, seconds: float) -> None:
        if stage not in self._stages:
            self._stages[stage] = self._metrics.histogram("tandem_stage_seconds", stage=stage)
        self._stages[stage].observe(seconds)

    def _banner(self, population: str, logged: bool, slots: tuple[Slot, ...]) -> None:
        if (population, logged) not in self._banners:
            self._banners[population, logged] = self._metrics.counter(
                "tandem_banners_total", population=population, logged="yes" if logged else "no"
            )
        self._banners[population, logged].add()
        for slot in slots:
            key = population, slot.sources
            if key not in self._slots:
                self._slots[key] = [
                    self._metrics.counter("tandem_slots_total", population=population, source=source)
                    for source in slot.sources
                ]
            for counter in self._slots[key]:
                counter.add()


class Counting(CallInterceptor):
    """Counts calls by method and status, their times, and those in flight. It stands between what turns errors into
    statuses and admission."""

    def __init__(self, metrics: Metrics, watch: Watch) -> None:
        self._metrics, self._watch = metrics, watch

    def around(self, handler: Handler, method: str) -> Handler:
        inner, name, metrics = cast(Call, handler.unary_unary), method.rpartition("/")[2], self._metrics
        in_flight, seconds = metrics.gauge("tandem_in_flight"), metrics.histogram("tandem_request_seconds", method=name)
        good, count = metrics.counter("tandem_requests_total", method=name, status="OK"), self._watch.count

        async def call(message: bytes | Message, context: Context) -> Message:
            began = time.perf_counter()
            in_flight.add()
            try:
                answer = await inner(message, context)
                good.add()
                return answer
            except (Exception, CancelledError) as error:
                status, reason = _outcome(error)
                metrics.counter("tandem_requests_total", method=name, status=status).add()
                if reason:
                    metrics.counter("tandem_refusals_total", method=name, reason=reason).add()
                raise
            finally:
                in_flight.add(-1)
                seconds.observe(time.perf_counter() - began)
                count()

        return handler_of(call, handler.request_deserializer)


def _outcome(error: BaseException) -> tuple[str, str]:
    if isinstance(error, RefusalError):
        return error.status, error.reason
    if isinstance(error, EventLogError):
        return "UNAVAILABLE", Reason.EVENT_LOG
    return ("CANCELLED", "") if isinstance(error, CancelledError) else ("INTERNAL", Reason.INTERNAL)
