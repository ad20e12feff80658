"""What every call meets: a fault of ours is INTERNAL with a reason, and counted out; other people's services pass."""

import asyncio

import grpc
import pytest

from gateway.errors import RefusalError
from gateway.log.rate_limited import RateLimitedLog
from gateway.rpc.interceptors import Admission, Intercepted, Reading, Refusals
from proto.tandem.v1 import tandem_pb2 as pb
from proto.tandem.v1 import tandem_pb2_grpc as rpc


class _Broken(rpc.RankerServiceServicer):
    async def Rank(self, message, context):
        raise {"bug": ZeroDivisionError(), "refuse": RefusalError("NOT_FOUND", "no such Ünit", "UNKNOWN_ITEM")}[
            message.item_ids[0]
        ]


def test_a_fault_in_a_handler_is_internal_and_leaves_no_call_behind(caplog: pytest.LogCaptureFixture) -> None:
    from gateway.client import GatewayClient

    async def serve() -> list[RefusalError]:
        admission = Admission(2)
        server = grpc.aio.server()
        intercepted = Intercepted(server, [Refusals(RateLimitedLog()), admission, Reading()])
        rpc.add_RankerServiceServicer_to_server(_Broken(), intercepted)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()

        def ask() -> list[RefusalError]:
            found = []
            with GatewayClient(f"127.0.0.1:{port}", retry=False) as client:
                for what in ("bug", "bug", "refuse"):
                    with pytest.raises(RefusalError) as caught:
                        client.rank(pb.Context(), [what])
                    found.append(caught.value)
            return found

        found = await asyncio.to_thread(ask)
        assert admission.in_flight == 0
        await server.stop(0)
        return found

    bug, _, refused = asyncio.run(serve())
    assert (bug.status, bug.reason) == ("INTERNAL", "INTERNAL") and "ZeroDivisionError" in str(bug)
    assert (refused.status, refused.reason) == ("NOT_FOUND", "UNKNOWN_ITEM") and "no such Ünit" in str(refused)
    assert sum("Rank failed" in one for one in caplog.messages) == 2
