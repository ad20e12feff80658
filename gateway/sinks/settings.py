"""The section `kafka` of the gateway's settings."""

from typing import Annotated

from pydantic import Field

from data.settings import Positive, Settings

Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]


class KafkaSettings(Settings):
    """Where the log is sent on to.

    Attributes:
        brokers: such as kafka-1.example:9092; without any, nothing is sent.
        displays, events: the topics of displays and of tracked events.
        timeout_seconds: a batch that is not acknowledged by then is sent again.
        options: of librdkafka, such as security.protocol or sasl.password, by their names there.
    """

    brokers: tuple[Annotated[str, Field(pattern=r"^[^\s,/]+:\d{1,5}$")], ...] = ()
    displays: Topic = "tandem.displays"
    events: Topic = "tandem.events"
    timeout_seconds: Positive = 10.0
    options: dict[str, str] = Field(default_factory=dict)

    @property
    def on(self) -> bool:
        return bool(self.brokers)
