"""How long each stage of an answer may take, and how much may go on at once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How long each stage may take and how much may go on at once, per worker.

    Attributes:
        source_ms: one candidate source.
        ranker_ms: features and scores of all pooled candidates.
        log_ms: writing displays to the log; a display that is not written by then is shown all the same, marked.
        total_ms: from arrival to answer; what is still missing then is left out. A client's own deadline shortens it.
        in_flight: requests at once; one more is refused at once.
        threads: worker threads that compute. Python computes in one at a time; a second one fills the gaps.
        stuck: how many threads may hang in one stage before it is skipped without being tried.
        per_source: candidates asked of each source, at the least; twice the slots if that is more.
    """

    source_ms: float = 20.0
    ranker_ms: float = 20.0
    log_ms: float = 50.0
    total_ms: float = 100.0
    in_flight: int = 32
    threads: int = 2
    stuck: int = 2
    per_source: int = 20
