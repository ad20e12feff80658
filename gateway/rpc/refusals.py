"""Refusals as gRPC sends them: a status code, one sentence, and a reason for programs in the status's details."""

from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status.rpc_status import to_status

from gateway.errors import RefusalError
from gateway.log.json_lines import HEADER, REQUEST_ID
from gateway.wire import DOMAIN, Reason


def invalid(sentence: str) -> RefusalError:
    """A field that is not what it should be."""
    return RefusalError("INVALID_ARGUMENT", sentence, Reason.INVALID_FIELD)


def unavailable(stage: str, left_out: tuple[tuple[str, str], ...], late: Reason, failed: Reason) -> RefusalError:
    """The one stage that was asked for gave nothing."""
    why = dict(left_out).get(stage, "no answer")
    return RefusalError("UNAVAILABLE", f"{stage}: {why}", late if why in ("late", "stuck") else failed)


async def refuse(context: grpc.aio.ServicerContext, refusal: RefusalError) -> NoReturn:
    """End a call: `google.rpc.ErrorInfo` travels in the trailing metadata, as grpcio-status has it."""
    info = Packed()
    info.Pack(ErrorInfo(reason=refusal.reason, domain=DOMAIN))
    code = grpc.StatusCode[refusal.status]
    status = to_status(Status(code=code.value[0], message=str(refusal), details=[info]))
    request_id = REQUEST_ID.get()
    trailing = (*status.trailing_metadata, *(((HEADER, request_id),) if request_id else ()))
    await context.abort(code, status.details, trailing)
    raise AssertionError("abort raises")
