"""The section `tracing`: where spans are sent."""

from typing import Annotated

from pydantic import Field, field_validator

from data.settings import Fraction, Settings


class TracingSettings(Settings):
    """OpenTelemetry, over OTLP/HTTP. Needs the extra `tracing`.

    Attributes:
        endpoint: of the collector, such as http://localhost:4318/v1/traces.
        share: of the calls that begin a trace here; a caller that names its trace (`traceparent`) decides itself.
        service: the name that spans carry.
    """

    endpoint: str
    share: Fraction = 0.01
    service: Annotated[str, Field(min_length=1, max_length=128)] = "tandem"

    @field_validator("endpoint")
    @classmethod
    def _endpoint(cls, endpoint: str) -> str:
        if not endpoint.startswith(("http://", "https://")):
            raise ValueError(f"expected an address such as http://localhost:4318/v1/traces, found {endpoint!r:.80}")
        return endpoint
