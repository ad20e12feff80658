"""Who may call over gRPC: tokens, rates, and certificates that are taken up as they change."""

import logging
from collections.abc import Callable, Sequence
from typing import cast

import grpc
from google.protobuf.message import Message

from gateway.access import Certificates, Rates, Tokens
from gateway.errors import GatewayError
from gateway.rpc.interceptors import Call, CallInterceptor, Context, Handler, handler_of
from gateway.settings.access import Method
from gateway.settings.gateway import GatewaySettings
from proto.tandem.v1 import tandem_pb2 as pb

logger = logging.getLogger(__name__)

METHODS: dict[str, Method] = {
    "GetBanner": "banner",
    "GetCandidates": "candidates",
    "GetSimilarItems": "similar",
    "Rank": "rank",
    "Track": "track",
}
"""What tokens call the methods."""


def guards(config: GatewaySettings) -> Sequence[CallInterceptor]:
    """What stands before admission; nothing where neither tokens nor rates are configured."""
    tokens = Tokens(config.tokens) if config.tokens else None
    rates = Rates(config.rate) if config.rate is not None else None
    return () if tokens is None and rates is None else (Guarding(tokens, rates),)


def previews(config: GatewaySettings) -> Sequence[CallInterceptor]:
    """What stands behind the reading of messages."""
    return (Previews(Tokens(config.tokens)),) if config.tokens else ()


class Guarding(CallInterceptor):
    """Lets clients in that have a token for the method and have not used up their rate."""

    def __init__(self, tokens: Tokens | None, rates: Rates | None) -> None:
        self._tokens, self._rates = tokens, rates

    def around(self, handler: Handler, method: str) -> Handler:
        inner, name = cast(Call, handler.unary_unary), METHODS[method.rpartition("/")[2]]
        tokens, rates = self._tokens, self._rates

        async def call(message: bytes | Message, context: Context) -> Message:
            client = tokens.check(_authorization(context), name) if tokens is not None else ""
            if rates is not None:
                rates.take(client or _address(context))
            return await inner(message, context)

        return handler_of(call, handler.request_deserializer)


class Previews(CallInterceptor):
    """Previews, which show what any user would get, are for tokens that name them."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def around(self, handler: Handler, method: str) -> Handler:
        inner = cast(Call, handler.unary_unary)
        if not method.endswith("/GetBanner"):
            return handler

        async def call(message: bytes | Message, context: Context) -> Message:
            if cast(pb.GetBannerRequest, message).preview:
                self._tokens.check(_authorization(context), "preview")
            return await inner(message, context)

        return handler_of(call, handler.request_deserializer)


def _authorization(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return str(value)
    return ""


def _address(context: Context) -> str:
    """Of the machine that calls, without its port."""
    return str(context.peer()).rpartition(":")[0]


def credentials(config: GatewaySettings) -> grpc.ServerCredentials | None:
    """TLS with certificates that are read again for a new connection if the files have changed; None without TLS.

    Raises:
        GatewayError: the files cannot be read or do not fit.
    """
    if config.tls is None:
        return None
    files = Certificates(config.tls)

    def configuration() -> grpc.ServerCertificateConfiguration:
        certificate, key, authority = files.read()
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)

    def newer() -> grpc.ServerCertificateConfiguration | None:
        if not files.changed():
            return None
        try:
            found = configuration()
        except (GatewayError, OSError) as error:
            logger.error("%s; the certificates of before stay in use", error)
            return None
        logger.info("new certificates are in use")
        return found

    required = config.tls.client_ca is not None
    # gRPC takes None for: as before.
    fetch = cast(Callable[[], grpc.ServerCertificateConfiguration], newer)
    return grpc.dynamic_ssl_server_credentials(configuration(), fetch, require_client_authentication=required)
