"""Ask a gateway: a thin client for commands, the demo and tests."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status.rpc_status import from_call

from gateway.errors import GatewayError, RefusalError
from gateway.wire import DOMAIN, HISTORY_LENGTH, MESSAGE_BYTES
from proto.tandem.v1 import tandem_pb2 as pb
from proto.tandem.v1 import tandem_pb2_grpc as rpc

ResponseT = TypeVar("ResponseT", bound=Message)

# A connection that meets a worker just as it closes is lost. By default the next try would come a second later, and a
# connection that never completes would be waited for 20 seconds.
_CONNECTION: tuple[tuple[str, object], ...] = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A gateway whose connection is about to end would answer a message that is too long as if it had never come.
    ("grpc.max_send_message_length", MESSAGE_BYTES),
)

_RETRIES = {
    "methodConfig": [
        {
            # Every method may be repeated: a display shown once more is its own display, events carry their ids.
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                # A draining server answers CANCELLED to a call that reaches it after it began to close.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ]
}


@dataclass(frozen=True)
class Tls:
    """How a gateway with TLS is reached.

    Attributes:
        ca: PEM file of the authority that signed the gateway's certificate; None: those that gRPC knows.
        certificate, key: PEM files of this client, for mutual TLS.
        server_name: the name in the gateway's certificate, if it is not the address.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises GatewayError: a file cannot be read."""
        try:
            ca, key, certificate = (None if one is None else one.read_bytes() for one in self._files)
        except OSError as error:
            raise GatewayError(f"{error.filename}: expected a PEM file, found {error.strerror}") from None
        return grpc.ssl_channel_credentials(ca, key, certificate)

    @property
    def _files(self) -> tuple[Path | None, Path | None, Path | None]:
        return self.ca, self.key, self.certificate


class GatewayClient:
    """One channel (one connection, so one worker) to a gateway. Use as a context manager or close it.

    Args:
        timeout: seconds for every call; its deadline travels with the request.
        retry: repeat a call that found the gateway unavailable, as while it restarts. Without it gRPC still repeats,
            once, what no server has seen: a call that was sent while its connection was ending.
        tls: how a gateway with TLS is reached; None: without encryption.
        token: of this client, where the gateway has tokens.
    Raises:
        RefusalError: from any call, with the status the gateway gave, its sentence and its `gateway.wire.Reason`.
        GatewayError: from any call, if nothing answers.
    """

    def __init__(
        self, address: str, timeout: float = 2.0, retry: bool = True, tls: Tls | None = None, token: str = ""
    ) -> None:
        self.address, self._timeout, self._metadata = address, timeout, metadata_of(token)
        options = channel_options(retry, tls)
        if tls is None:
            self._channel = grpc.insecure_channel(address, options=options)
        else:
            self._channel = grpc.secure_channel(address, tls.credentials(), options=options)
        self._banners = rpc.BannerServiceStub(self._channel)
        self._candidates = rpc.CandidateServiceStub(self._channel)
        self._ranker = rpc.RankerServiceStub(self._channel)
        self._tracking = rpc.TrackingServiceStub(self._channel)

    def __enter__(self) -> "GatewayClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def get_banner(
        self, context: pb.Context, slots: int, preview: bool = False, population: str = ""
    ) -> pb.GetBannerResponse:
        """A banner for the user of the context. A preview is not logged, and may name a population."""
        request = pb.GetBannerRequest(context=context, slots=slots, preview=preview, population=population)
        return self._call(self._banners.GetBanner, request)

    def get_candidates(
        self, context: pb.Context, k: int, sources: Sequence[str] = (), explain: int = 0, log: bool = False
    ) -> pb.GetCandidatesResponse:
        """What each source proposes (all of them if none is named), at most k items each; on demand with the `explain`
        items of the history that add most to each score. `log`: as a display, for what a page shows of it."""
        request = pb.GetCandidatesRequest(context=context, k=k, sources=sources, explain=explain, log=log)
        return self._call(self._candidates.GetCandidates, request)

    def get_similar_items(
        self,
        item_id: str,
        k: int,
        country: str = "",
        exclude_item_ids: Sequence[str] = (),
        context: pb.Context | None = None,
        log: bool = False,
    ) -> pb.GetSimilarItemsResponse:
        """At most k available items of the same merchant, most alike first; that pass the context's filter, if there
        is one. `log`: as a display to the context's user."""
        request = pb.GetSimilarItemsRequest(
            item_id=item_id, k=k, country=country, exclude_item_ids=exclude_item_ids, context=context, log=log
        )
        return self._call(self._candidates.GetSimilarItems, request)

    def rank(self, context: pb.Context, item_ids: Sequence[str]) -> list[float]:
        """The ranker's probability per item; NaN for one that the bundle or the merchant does not have."""
        return list(self._call(self._ranker.Rank, pb.RankRequest(context=context, item_ids=item_ids)).scores)

    def track(self, events: Sequence[pb.TrackedEvent]) -> int:
        """How many of the events are on disk: all of them, or an error."""
        return int(self._call(self._tracking.Track, pb.TrackRequest(events=events)).durable)

    def wait_until_ready(self, seconds: float) -> None:
        """Raises GatewayError if nothing listens by then."""
        try:
            grpc.channel_ready_future(self._channel).result(timeout=seconds)
        except grpc.FutureTimeoutError:
            raise GatewayError(f"nothing answers at {self.address} after {seconds:.0f} s") from None

    def _call(self, method: Callable[..., ResponseT], request: Message) -> ResponseT:
        try:
            return method(request, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            code, said, reason = error.code(), error.details() or "", reason_of(error)
            if code == grpc.StatusCode.UNAVAILABLE and not reason:
                sentence = f"nothing answers at {self.address}; `tandem gateway serve` starts a gateway ({said})"
                raise GatewayError(sentence) from error
            raise RefusalError(code.name, f"{self.address} answered {code.name}: {said}", reason) from error


def channel_options(retry: bool, tls: Tls | None = None) -> list[tuple[str, object]]:
    """Of a channel to a gateway, synchronous or not."""
    named = [("grpc.ssl_target_name_override", tls.server_name)] if tls is not None and tls.server_name else []
    return [*_CONNECTION, *named, *([("grpc.service_config", json.dumps(_RETRIES))] if retry else [])]


def metadata_of(token: str) -> tuple[tuple[str, str], ...]:
    """What a call carries of a client's token."""
    return (("authorization", f"Bearer {token}"),) if token else ()


def reason_of(error: Any) -> str:
    """The gateway's reason, from the status's details; "" of an error that is not the gateway's."""
    try:
        status = from_call(error)  # a call that failed, of grpc or of grpc.aio
    except (AttributeError, ValueError):  # an error without details; details that do not fit the status: another's
        return ""
    for detail in status.details if status is not None else ():
        info = ErrorInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            return str(info.reason)
    return ""


def history_of(item_ids: Sequence[str], kinds: "Sequence[pb.EventKind]" = (), ts_us: Sequence[int] = ()) -> pb.History:
    """A user's events for a request, oldest first: the newest of them that one request may carry."""
    newest = slice(-HISTORY_LENGTH, None)
    return pb.History(item_ids=item_ids[newest], kinds=list(kinds)[newest], ts_us=list(ts_us)[newest])
