"""The section `tiers` of the gateway's settings."""

from typing import Annotated, Literal

from pydantic import Field

from data.settings import Count, Positive, Settings
from gateway.settings.web import UpstreamSettings

Address = Annotated[str, Field(pattern=r"^$|^[^\s,/]+:\d{1,5}$")]

Tier = Literal["candidates", "ranker"]
"""What may run as a service of its own."""


class TierSettings(Settings):
    """Which stages other gateways run, started with --tier.

    Attributes:
        candidates, ranker: where stage one and the ranker answer, such as ranker.example:50061; empty: in this process.
        limit_ms: of one call to either; an answer goes on without what is not there by then, marked.
        channels: connections to each, over which its workers share the calls.
        upstream: how they are reached, where they ask for TLS or a token.
    """

    candidates: Address = ""
    ranker: Address = ""
    limit_ms: Positive = 40.0
    channels: Annotated[Count, Field(le=64)] = 2
    upstream: UpstreamSettings = UpstreamSettings()

    @property
    def on(self) -> bool:
        return bool(self.candidates or self.ranker)
