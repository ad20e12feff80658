"""What goes wrong online."""

from data.errors import TandemError


class GatewayError(TandemError):
    """A populations file, port, bundle or answer that the gateway cannot work with."""


class RefusalError(GatewayError):
    """A request that cannot be answered.

    Attributes:
        status: the name of the gRPC status code, such as "INVALID_ARGUMENT".
        reason: a `gateway.wire.Reason`; "" if whoever refused gave none.
    """

    def __init__(self, status: str, sentence: str, reason: str = "") -> None:
        super().__init__(sentence)
        self.status, self.reason = status, reason
