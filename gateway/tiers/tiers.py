"""Which tiers a worker asks, over which connections."""

import time
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import grpc
from google.protobuf.message import Message

from gateway.access import token_of
from gateway.banner.runtime import Runtime
from gateway.banner.stages import Stage
from gateway.client.gateway_client import Tls, channel_options, metadata_of
from gateway.settings.tiers import TierSettings
from gateway.tiers.asking import Ask, AskCandidates, AskRanker
from proto.tandem.v1 import tandem_pb2_grpc as rpc

_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_KEEPALIVE = (("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 2_000))
"""A host that is gone without a word is noticed."""


class Tiers:
    """See `gateway.banner.runtime.Remote`. Made on the event loop that asks them, for one bundle."""

    def __init__(self, settings: TierSettings, runtime: Runtime) -> None:
        """Raises GatewayError: a certificate or a token's file cannot be read."""
        self._runtime, self._limit = runtime, settings.limit_ms / 1e3
        self._candidates = _in_turn(settings.candidates, settings, rpc.CandidateServiceStub, "GetCandidates")
        self._ranker = _in_turn(settings.ranker, settings, rpc.RankerServiceStub, "Rank")

    def proposing(self, names: Sequence[str], here: Sequence[Stage[Any]]) -> tuple[Stage[Any], ...]:
        if self._candidates is None:
            return tuple(here)
        known = [name for name in names if name in self._runtime.sources]
        unknown = [stage for name, stage in zip(names, here, strict=True) if name not in self._runtime.sources]
        return (AskCandidates(self._candidates, self._runtime, self._limit, known), *unknown)

    def ranking(self, here: Stage[Any], aside: bool) -> Stage[Any]:
        if self._ranker is None or self._runtime.scorer is None:
            return here
        return AskRanker(self._ranker, self._runtime, self._limit, aside)


def _in_turn(address: str, settings: TierSettings, stub: Any, method: str) -> Ask | None:
    """A method of a service over several connections: each belongs to one of its workers."""
    if not address:
        return None
    count, own = settings.channels, settings.upstream
    tls = None if own.ca is None else Tls(own.ca, own.certificate, own.key, own.server_name)
    metadata, options = metadata_of(token_of(own)), [*channel_options(False, tls), *_KEEPALIVE]
    if tls is None:
        channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(count)]
    else:
        channels = [grpc.aio.secure_channel(address, tls.credentials(), options=options) for _ in range(count)]
    methods = cycle([getattr(stub(channel), method) for channel in channels])

    async def ask(message: Message, timeout: float) -> Any:
        """Over the next connection, or another if that one is lost or just ending: asking twice does no harm."""
        ends = time.perf_counter() + timeout
        for last in range(count - 1, -1, -1):
            try:
                return await next(methods)(message, timeout=ends - time.perf_counter(), metadata=metadata)
            except grpc.aio.AioRpcError as error:
                if not last or error.code() not in _LOST:
                    raise
        raise AssertionError("the last call is answered or raises")

    return ask
