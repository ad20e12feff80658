"""`TrackingService`: what users did with banners, on disk before it is acknowledged."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc

from data.eventlog import LogWriter
from gateway.rpc.decoding import checked_events
from gateway.rpc.interceptors import Admission
from gateway.rpc.observing import Watch
from proto.tandem.v1 import tandem_pb2 as pb
from proto.tandem.v1 import tandem_pb2_grpc as rpc

_SYNC_THREADS = 8
"""Tracked batches that may wait for the disk at once; those that wait together share an fsync."""


class TrackingService(rpc.TrackingServiceServicer):
    """Clicks, landings and sales."""

    def __init__(self, writer: LogWriter, admission: Admission, replay: bool, watch: Watch | None = None) -> None:
        self._writer, self._admission, self._replay, self._watch = writer, admission, replay, watch
        self._disk = ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="disk")

    async def Track(self, message: pb.TrackRequest, context: grpc.aio.ServicerContext) -> pb.TrackResponse:
        message.DiscardUnknownFields()  # they would be written too, whatever they hold
        events = checked_events(message.events, self._replay)
        loop = asyncio.get_running_loop()
        # Shielded and counted: events on their way to the disk get there even if the caller stops waiting.
        durable = loop.run_in_executor(self._disk, self._writer.append_tracked, events)
        self._admission.enter()
        durable.add_done_callback(self._left)
        count = await asyncio.shield(durable)
        if self._watch is not None:
            self._watch.tracked(events)
        return pb.TrackResponse(durable=count)

    def _left(self, written: "asyncio.Future[int]") -> None:
        self._admission.leave()
        if not written.cancelled():
            written.exception()  # the handler answers for it; a caller that left does not wait for it
