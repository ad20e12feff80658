"""The section `metrics`: where Prometheus finds the gateway's figures."""

from typing import Annotated

from pydantic import Field

from data.settings import Settings


class MetricsSettings(Settings):
    """Where `/metrics` is served.

    Attributes:
        host, port: where it listens; this machine only by default.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 9464
