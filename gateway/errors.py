"""What goes wrong online."""

from data.errors import TandemError


class GatewayError(TandemError):
    """A populations file, port, bundle or answer that the gateway cannot work with."""


class RefusalError(GatewayError):
    """A request that cannot be answered.

    Attributes:
        status: the name of the gRPC status code, such as "INVALID_ARGUMENT".
    """

    def __init__(self, status: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def invalid(sentence: str) -> RefusalError:
    """A field that is not what it should be."""
    return RefusalError("INVALID_ARGUMENT", sentence)
