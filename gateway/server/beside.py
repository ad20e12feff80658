"""The processes that run beside the workers, by what the settings ask for, and where all of them count."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.metrics import Regions
from gateway.server.companion import Companion
from gateway.settings.gateway import GatewaySettings


class Beside:
    """Companions, started and stopped together.

    Attributes:
        regions: where the gateway's processes count; None: nothing is counted.
    """

    def __init__(self, companions: Sequence[Companion] = (), regions: Regions | None = None) -> None:
        self._companions, self.regions = companions, regions

    @classmethod
    def of(
        cls, settings: GatewaySettings, config: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> "Beside":
        """
        Args:
            config: the file of the settings, which each of them reads too. environment: what they get of the options.
        """
        regions = Regions() if settings.metrics is not None else None
        logs = settings.tier is None
        asked = {
            "the page of metrics": ("gateway", "metrics") if settings.metrics is not None else (),
            "the HTTP server": ("gateway", "web") if settings.http is not None and logs else (),
            "the process that fills the timelines": ("timelines", "follow") if settings.timelines.on and logs else (),
            "the process that sends the log to Kafka": ("logs", "send") if settings.kafka.on and logs else (),
        }
        from_file = ["--config", str(config)] if config is not None else []
        made = [
            Companion(
                name,
                [sys.executable, "-m", "tandem", *command, *from_file],
                {**(environment or {}), **({} if regions is None else regions.environment())},
            )
            for name, command in asked.items()
            if command
        ]
        return cls(made, regions)

    def look(self) -> None:
        """Start those that do not run."""
        for one in self._companions:
            one.look()

    def stop(self) -> None:
        """Let each finish what it has begun."""
        for one in self._companions:
            one.stop()
