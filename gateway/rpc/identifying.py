"""Ids of requests: from the metadata `x-request-id` or made here, in the lines of the log, and back to the client."""

import logging
from typing import cast

from google.protobuf.message import Message

from gateway.errors import GatewayError, RefusalError
from gateway.log.json_lines import HEADER, REQUEST_ID, request_id_of
from gateway.log.rate_limited import RateLimitedLog
from gateway.rpc.interceptors import Call, CallInterceptor, Context, Handler, handler_of

_SECONDS = 0.05
"""Of a flood of refused calls, a line in so long."""


class Identifying(CallInterceptor):
    """Gives every call its id, and every refused one a line. Stands behind what turns errors into statuses' words."""

    def __init__(self) -> None:
        self._refused = RateLimitedLog(_SECONDS, level=logging.WARNING)

    def around(self, handler: Handler, method: str) -> Handler:
        inner, name = cast(Call, handler.unary_unary), method.rpartition("/")[2]

        async def call(message: bytes | Message, context: Context) -> Message:
            given = next((str(value) for key, value in context.invocation_metadata() or () if key == HEADER), None)
            # A call's own task ends with it, and so does what is set here.
            REQUEST_ID.set(request_id_of(given))
            context.set_trailing_metadata(((HEADER, REQUEST_ID.get()),))
            try:
                return await inner(message, context)
            except RefusalError as error:
                self._refused.error(GatewayError(f"{name} refused: {error.status}: {error}"))
                raise

        return handler_of(call, handler.request_deserializer)
