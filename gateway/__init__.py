"""Online: answer banner requests over gRPC, log them, and report what the log proves.

populations -> runtime (a bundle, loaded) -> assembly (pool, rank, fill the slots) -> server (workers on one port) ->
eventlog (what was shown and what came back) -> report (source share, uplift).
"""
