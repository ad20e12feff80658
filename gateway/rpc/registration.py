"""Hand a service's methods to a gRPC server, so that bytes that are no message are refused like any wrong request.

What the generated code registers raises at such bytes before a handler is asked: the client gets UNKNOWN with the name
of a Python class, and the log a traceback for every call.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass


@dataclass(frozen=True)
class Unreadable:
    """What a handler is given in place of a message that could not be read."""

    sentence: str


def register(server: Any, service: ServiceDescriptor, servicer: object) -> None:
    """Register every method of `service`, each by its name in `servicer`. A handler may be given an `Unreadable`."""
    handlers = {
        method.name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, method.name),
            request_deserializer=_reader(GetMessageClass(method.input_type)),
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
        for method in service.methods
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    server.add_registered_method_handlers(service.full_name, handlers)


def keep_quiet_about_bytes() -> None:
    """No traceback per wrong call of the services that others wrote: health and reflection."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(
        lambda record: not (record.exc_info and isinstance(record.exc_info[1], DecodeError))
    )


def _reader(kind: type[Message]) -> Callable[[bytes], Any]:
    name, read = kind.DESCRIPTOR.full_name, kind.FromString

    def read_or_tell(content: bytes) -> Message | Unreadable:
        try:
            return read(content)
        except DecodeError as error:
            reason = str(error).rpartition(": ")[2]
            return Unreadable(f"expected the bytes of a {name}, found {len(content)} that are none ({reason})")

    return read_or_tell
