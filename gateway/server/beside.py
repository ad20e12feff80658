"""The processes that run beside the workers, by what the settings ask for: HTTP, and those that follow the log."""

import sys
from collections.abc import Mapping
from pathlib import Path

from gateway.server.companion import Companion
from gateway.settings.gateway import GatewaySettings


def companions(
    settings: GatewaySettings, config: Path | None = None, environment: Mapping[str, str] | None = None
) -> tuple[Companion, ...]:
    """
    Args:
        config: the file of the settings, which each of them reads too. environment: what they get of the options.
    """
    asked = {
        "the HTTP server": ("gateway", "web") if settings.http is not None else (),
        "the process that fills the timelines": ("timelines", "follow") if settings.timelines.on else (),
        "the process that sends the log to Kafka": ("logs", "send") if settings.kafka.on else (),
    }
    from_file = ["--config", str(config)] if config is not None else []
    return tuple(
        Companion(name, [sys.executable, "-m", "tandem", *command, *from_file], environment)
        for name, command in asked.items()
        if command
    )
