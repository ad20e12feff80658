"""Ask a gateway: a client that needs gRPC and protobuf alone."""

from gateway.client.gateway_client import GatewayClient, history_of

__all__ = ["GatewayClient", "history_of"]
