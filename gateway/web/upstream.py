"""The gateway behind the HTTP server: calls to its services, over several connections in turn."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import grpc
from google.protobuf.message import Message

from gateway.access import token_of
from gateway.client.gateway_client import Tls, channel_options, metadata_of, reason_of
from gateway.errors import RefusalError
from gateway.log.json_lines import HEADER, REQUEST_ID
from gateway.settings.web import WebSettings
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

    def __init__(self, settings: WebSettings) -> None:
        """Raises GatewayError: a file of the settings cannot be read."""
        self._address, self._count, self._timeout = settings.gateway, settings.channels, settings.timeout_ms / 1000
        own = settings.upstream
        self._tls = None if own.ca is None else Tls(own.ca, own.certificate, own.key, own.server_name)
        self._credentials = None if self._tls is None else self._tls.credentials()
        self._metadata = metadata_of(token_of(own))
        self._channels: list[grpc.aio.Channel] = []
        self._stubs: Iterator[_Stubs] = iter(())

    def open(self) -> None:
        """Make the channels; they belong to the event loop that runs now."""
        self._channels = [self._channel() for _ in range(self._count)]
        self._stubs = cycle([_Stubs(one) for one in self._channels])

    async def call(self, method: str, message: Message) -> Any:
        """The response. Raises RefusalError with the gateway's status, sentence and reason."""
        request_id = REQUEST_ID.get()
        metadata = (*self._metadata, *(((HEADER, request_id),) if request_id else ()))
        try:
            return await next(self._stubs).of[method](message, timeout=self._timeout, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            status, said, reason = error.code().name, error.details() or "", reason_of(error)
            if status == "UNAVAILABLE" and not reason:
                said, reason = f"nothing answers at {self._address}", Reason.NO_GATEWAY
            raise RefusalError(status, said, reason) from None

    def _channel(self) -> grpc.aio.Channel:
        options = channel_options(True, self._tls)
        if self._credentials is None:
            return grpc.aio.insecure_channel(self._address, options=options)
        return grpc.aio.secure_channel(self._address, self._credentials, options=options)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close(grace=None)
