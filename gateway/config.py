"""What a gateway is told when it starts."""

from dataclasses import dataclass, field
from pathlib import Path

from gateway.experiment.populations import DEFAULT_POPULATIONS


@dataclass(frozen=True)
class Limits:
    """How long each stage may take and how much may go on at once, per worker.

    Attributes:
        source_ms: one candidate source.
        ranker_ms: features and scores of all pooled candidates.
        total_ms: from arrival to answer; what is still missing then is left out. A client's own deadline shortens it.
        in_flight: requests at once; one more is refused at once.
        lanes: threads that compute. Python computes in one at a time; a second one fills the gaps.
        stuck: how many lanes may hang in one stage before it is skipped without being tried.
        per_source: candidates asked of each source, at the least; twice the slots if that is more.
    """

    source_ms: float = 20.0
    ranker_ms: float = 20.0
    total_ms: float = 100.0
    in_flight: int = 32
    lanes: int = 2
    stuck: int = 2
    per_source: int = 20


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
    silence_seconds: float = 15.0
