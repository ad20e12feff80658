"""Online: answer banner requests over gRPC, log them, and report what the log proves.

populations (who is served from which sources) -> runtime (a bundle, loaded) -> requests (checked) -> assembly (ask the
sources, pool, rank, fill the slots) on lanes (deadlines) -> services -> worker, several under one supervisor ->
data.eventlog (what was shown and what came back) -> report (source share, uplift).
"""
