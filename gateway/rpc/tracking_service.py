"""`TrackingService`: what users did with banners, on disk before it is acknowledged."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc

from data.eventlog import EventLogError, LogWriter
from gateway.rpc.decoding import checked_events
from gateway.rpc.serving import Serving
from proto.tandem.v1 import tandem_pb2 as pb
from proto.tandem.v1 import tandem_pb2_grpc as rpc

_SYNC_THREADS = 8
"""Tracked batches that may wait for the disk at once; those that wait together share an fsync."""


class TrackingService(rpc.TrackingServiceServicer):
    """Clicks, landings and sales."""

    def __init__(self, writer: LogWriter, serving: Serving) -> None:
        self._writer, self._serving = writer, serving
        self._disk = ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="disk")
        self._waiting = 0

    async def Track(self, message: pb.TrackRequest, context: grpc.aio.ServicerContext) -> pb.TrackResponse:
        message.DiscardUnknownFields()  # they would be written too, whatever they hold
        limits, replay = self._serving.limits, self._serving.replay
        events = checked_events(message.events, replay)
        if self._waiting >= limits.in_flight:  # their callers may have left long ago
            raise EventLogError(f"{self._waiting} batches of events wait for the disk, the limit; try again later")
        loop = asyncio.get_running_loop()
        # On their way to the disk events get there, even if the caller stops waiting.
        durable = loop.run_in_executor(self._disk, self._writer.append_tracked, events)
        self._waiting += 1
        durable.add_done_callback(self._written)
        done, _ = await asyncio.wait([durable], timeout=limits.track_ms / 1e3)
        if not done:
            raise EventLogError(f"the events are not on disk after {limits.track_ms / 1e3:g} s; send them again")
        count = durable.result()
        if self._serving.watch is not None:
            self._serving.watch.tracked(events)
        return pb.TrackResponse(durable=count)

    def _written(self, durable: "asyncio.Future[int]") -> None:
        self._waiting -= 1
        if not durable.cancelled():
            durable.exception()  # the handler answers for it; a caller that left does not wait for it
