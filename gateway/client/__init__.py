"""Ask a gateway: a client that needs gRPC and protobuf alone.

    with GatewayClient("127.0.0.1:50051") as client:
        context = pb.Context(user_id="u1", merchant_id="books", history=history_of(["books-001"]))
        for slot in client.get_banner(context, slots=6).slots: ...

`pip install ./gateway/client` installs it without the rest of Tandem, under the name `tandem_client`.
"""

from gateway.client.gateway_client import GatewayClient, Tls, history_of
from gateway.errors import GatewayError, RefusalError
from gateway.wire import Reason
from proto.tandem.v1 import tandem_pb2 as pb

__all__ = ["GatewayClient", "GatewayError", "Reason", "RefusalError", "Tls", "history_of", "pb"]
