"""The gateway behind the HTTP server: calls to its services, over several connections in turn."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import grpc
from google.protobuf.message import Message

from gateway.client.gateway_client import channel_options, reason_of
from gateway.errors import RefusalError
from gateway.wire import Reason
from proto.tandem.v1 import tandem_pb2_grpc as rpc


class _Stubs:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        banners, candidates = rpc.BannerServiceStub(channel), rpc.CandidateServiceStub(channel)
        self.of = {
            "banner": banners.GetBanner,
            "candidates": candidates.GetCandidates,
            "similar": candidates.GetSimilarItems,
            "rank": rpc.RankerServiceStub(channel).Rank,
            "track": rpc.TrackingServiceStub(channel).Track,
        }


class Upstream:
    """Channels to a gateway. A connection belongs to one worker, so several reach several workers."""

    def __init__(self, address: str, channels: int, timeout_ms: int) -> None:
        self._address, self._count, self._timeout = address, channels, timeout_ms / 1000
        self._channels: list[grpc.aio.Channel] = []
        self._stubs: Iterator[_Stubs] = iter(())

    def open(self) -> None:
        """Make the channels; they belong to the event loop that runs now."""
        options = channel_options(retry=True)
        self._channels = [grpc.aio.insecure_channel(self._address, options=options) for _ in range(self._count)]
        self._stubs = cycle([_Stubs(one) for one in self._channels])

    async def call(self, method: str, message: Message) -> Any:
        """The response. Raises RefusalError with the gateway's status, sentence and reason."""
        try:
            return await next(self._stubs).of[method](message, timeout=self._timeout)
        except grpc.aio.AioRpcError as error:
            status, said, reason = error.code().name, error.details() or "", reason_of(error)
            if status == "UNAVAILABLE" and not reason:
                said, reason = f"nothing answers at {self._address}", Reason.NO_GATEWAY
            raise RefusalError(status, said, reason) from None

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close(grace=None)
