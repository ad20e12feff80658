"""How long each stage of an answer may take, and how much may go on at once."""

from data.settings import Count, Positive, Settings


class Limits(Settings):
    """How long each stage may take and how much may go on at once, per worker.

    Attributes:
        source_ms: one candidate source.
        ranker_ms: features and scores of all pooled candidates.
        log_ms: writing displays to the log; a display that is not written by then is shown all the same, marked.
        track_ms: tracked events on disk; refused then, to be sent again. As late, the log counts as failing.
        total_ms: from arrival to answer; what is still missing then is left out. A client's own deadline shortens it.
        in_flight: requests at once; one more is refused at once.
        threads: worker threads that compute. Python computes in one at a time; a second one fills the gaps.
        stuck: how many threads may hang in one stage before it is skipped without being tried.
        per_source: candidates asked of each source, at the least; twice the slots if that is more.
    """

    source_ms: Positive = 20.0
    ranker_ms: Positive = 20.0
    log_ms: Positive = 50.0
    track_ms: Positive = 5000.0
    total_ms: Positive = 100.0
    in_flight: Count = 32
    threads: Count = 2
    stuck: Count = 2
    per_source: Count = 20
