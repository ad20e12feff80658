"""What every call of Tandem's services meets, from the outside in: refusals, admission, reading.

Health and reflection, which others wrote, are let through as they are.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError, Message

from data.eventlog import EventLogError
from gateway.errors import RefusalError
from gateway.log.rate_limited import RateLimitedLog
from gateway.rpc.refusals import refuse
from gateway.wire import Reason
from proto.tandem.v1 import tandem_pb2 as pb

logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext
Handler: TypeAlias = "grpc.RpcMethodHandler[bytes | Message, Message]"
Call = Callable[[bytes | Message, Context], Awaitable[Message]]
Read = Callable[[bytes | Message], Message]


class CallInterceptor(ABC):
    """Puts something in the way of every call of Tandem's services."""

    @abstractmethod
    def around(self, handler: Handler, method: str) -> Handler:
        """The handler to be called in the place of `handler`."""


class Intercepted:
    """Stands in for a server while Tandem's services are added to it: each method is wrapped once, from the inside out.

    gRPC asks a server's interceptors for every call anew, each in a coroutine of its own, also for services that they
    let through.
    """

    def __init__(self, server: grpc.aio.Server, interceptors: Sequence[CallInterceptor]) -> None:
        self._server, self._interceptors = server, interceptors

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self._server.add_generic_rpc_handlers(tuple(_Wrapped(one, self._interceptors) for one in handlers))

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Handler]) -> None:
        """As gRPC's asyncio server does: nothing."""


class _Wrapped(grpc.GenericRpcHandler):
    def __init__(self, inner: grpc.GenericRpcHandler, interceptors: Sequence[CallInterceptor]) -> None:
        self._inner, self._interceptors = inner, interceptors
        self._wrapped: dict[str, Handler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        method = str(handler_call_details.method)
        if (known := self._wrapped.get(method)) is not None:
            return known
        handler = cast("Handler | None", self._inner.service(handler_call_details))
        if handler is None:
            return None
        for one in reversed(self._interceptors):
            handler = one.around(handler, method)
        self._wrapped[method] = handler
        return handler


class Refusals(CallInterceptor):
    """Turns what goes wrong in a call into a status and one sentence."""

    def __init__(self, log_failures: RateLimitedLog) -> None:
        self._log_failures = log_failures

    def around(self, handler: Handler, method: str) -> Handler:
        inner = cast(Call, handler.unary_unary)

        async def call(message: bytes | Message, context: Context) -> Message:
            try:
                return await inner(message, context)
            except RefusalError as error:
                refusal = error
            except EventLogError as error:
                self._log_failures.error(error)
                sentence = f"the event log cannot be written: {error}"
                refusal = RefusalError("UNAVAILABLE", sentence, Reason.EVENT_LOG)
            except Exception as error:
                logger.exception("%s failed", method)
                refusal = RefusalError("INTERNAL", f"{method} failed: {type(error).__name__}", Reason.INTERNAL)
            return await refuse(context, refusal)

        return handler_of(call, handler.request_deserializer)


class Admission(CallInterceptor):
    """Sheds load: a call past the limit is refused before it is read.

    Attributes:
        in_flight: calls being answered.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self.in_flight = limit, 0

    def around(self, handler: Handler, method: str) -> Handler:
        inner = cast(Call, handler.unary_unary)

        async def call(message: bytes | Message, context: Context) -> Message:
            if self.in_flight >= self._limit:
                sentence = f"{self._limit} requests are being answered, the limit; try again later"
                raise RefusalError("RESOURCE_EXHAUSTED", sentence, Reason.TOO_MANY_REQUESTS)
            self.in_flight += 1
            try:
                return await inner(message, context)
            finally:
                self.in_flight -= 1

        return handler_of(call, handler.request_deserializer)


class Reading(CallInterceptor):
    """Reads messages, so that bytes that are none are refused like any wrong request.

    Left to gRPC, they would give the client UNKNOWN with the name of a Python class, and the log a traceback per call.
    """

    def around(self, handler: Handler, method: str) -> Handler:
        inner, read = cast(Call, handler.unary_unary), cast(Read, handler.request_deserializer)
        service, name = method.removeprefix("/").split("/")
        service = service.removeprefix(f"{pb.DESCRIPTOR.package}.")
        kind = pb.DESCRIPTOR.services_by_name[service].methods_by_name[name].input_type.full_name

        async def call(content: bytes | Message, context: Context) -> Message:
            try:
                message = read(content)
            except DecodeError as error:
                why = str(error).rpartition(": ")[2]
                sentence = f"expected the bytes of a {kind}, found {len(content)} that are none ({why})"
                raise RefusalError("INVALID_ARGUMENT", sentence, Reason.UNREADABLE_MESSAGE) from None
            return await inner(message, context)

        return handler_of(call, None)


def keep_quiet_about_bytes() -> None:
    """No traceback per wrong call of the services that others wrote: health and reflection."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(
        lambda record: not (record.exc_info and isinstance(record.exc_info[1], DecodeError))
    )


def handler_of(call: Call, read: Read | None) -> Handler:
    """A handler of calls with one message each way."""
    return grpc.unary_unary_rpc_method_handler(call, read, _serialised)


def _serialised(answer: bytes | Message) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()
