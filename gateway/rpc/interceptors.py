"""What every call of Tandem's services meets, from the outside in: refusals, admission, reading.

Health and reflection, which others wrote, are let through as they are.
"""

import logging
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
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

_MOMENT = 0.0003
"""Seconds between a call's beginning and its message, on a machine that is busy."""

Context = grpc.aio.ServicerContext
Handler: TypeAlias = "grpc.RpcMethodHandler[bytes | Message, Message]"
Call = Callable[[bytes | Message, Context], Awaitable[Message]]
Read = Callable[[bytes | Message], Message]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Puts `around` in the way of every call of Tandem's services; each method is wrapped once."""

    def __init__(self) -> None:
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        method = str(handler_call_details.method)
        handler = await continuation(handler_call_details)
        if handler is None or not method.startswith(f"/{pb.DESCRIPTOR.package}."):
            return handler
        if method not in self._wrapped:
            self._wrapped[method] = self.around(handler, method)
        return self._wrapped[method]

    @abstractmethod
    def around(self, handler: Handler, method: str) -> Handler:
        """The handler to be called in the place of `handler`."""


class Refusals(CallInterceptor):
    """Turns what goes wrong in a call into a status and one sentence."""

    def __init__(self, log_failures: RateLimitedLog) -> None:
        super().__init__()
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
        in_flight: calls being answered, and what they left to be done (`enter`, `leave`).
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit, self.in_flight = limit, 0
        self._begun: deque[float] = deque()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        self._begun.append(time.perf_counter())
        return await super().intercept_service(continuation, handler_call_details)

    def others_arrive(self) -> bool:
        """Whether calls have just begun whose messages are yet to be read: they will be there in a moment."""
        begun, since = self._begun, time.perf_counter() - _MOMENT
        while begun and begun[0] < since:  # of other services, or their messages do not come
            begun.popleft()
        return bool(begun)

    def enter(self) -> None:
        self.in_flight += 1

    def leave(self) -> None:
        self.in_flight -= 1

    def around(self, handler: Handler, method: str) -> Handler:
        inner = cast(Call, handler.unary_unary)

        async def call(message: bytes | Message, context: Context) -> Message:
            if self._begun:
                self._begun.popleft()
            if self.in_flight >= self._limit:
                sentence = f"{self._limit} requests are being answered, the limit; try again later"
                raise RefusalError("RESOURCE_EXHAUSTED", sentence, Reason.TOO_MANY_REQUESTS)
            self.enter()
            try:
                return await inner(message, context)
            finally:
                self.leave()

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
