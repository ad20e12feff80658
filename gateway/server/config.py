"""What a gateway is told when it starts."""

from dataclasses import dataclass, field
from pathlib import Path

from gateway.experiment.populations import DEFAULT_POPULATIONS
from gateway.limits import Limits


@dataclass(frozen=True)
class ServerConfig:
    """Where the gateway listens, what it serves, and how.

    Attributes:
        bundle: a bundle's folder, or the `current` link that is followed when it changes.
        log: the event log's folder.
        exclude_kinds: `EventKind` codes; items that a request's history holds so are not proposed, whatever it asks.
        replay: take the times that requests name, instead of the clock's.
        known_sources: the names a populations file may use; None: those that stage one knows.
        compact_seconds: between two compactions of the log.
        connection_seconds: after so long (give or take a tenth) a client is asked to connect anew, between two calls:
            so clients spread over the workers, and leave one that is replaced.
        drain_seconds: a stopping worker's time to finish what it has begun.
        memory_mib: a worker that has grown by so much since it was ready is replaced, its clients between two calls.
        start_seconds: a worker that is not ready by then is killed, and a bundle that was coming up with it refused.
        silence_seconds: a worker that gives no sign of life for so long is killed and replaced.
    """

    bundle: Path
    log: Path
    populations: Path = DEFAULT_POPULATIONS
    host: str = "127.0.0.1"
    port: int = 50051
    workers: int = 2
    replay: bool = False
    exclude_kinds: tuple[int, ...] = ()
    limits: Limits = field(default_factory=Limits)
    known_sources: tuple[str, ...] | None = None
    compact_seconds: float = 60.0
    connection_seconds: float = 10.0
    drain_seconds: float = 10.0
    memory_mib: float = 1024.0
    start_seconds: float = 600.0
    silence_seconds: float = 15.0
