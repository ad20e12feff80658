"""Online: answer banner requests over gRPC, log them, and report what the log proves.

A request: rpc (decode, admit) -> experiment (which population) -> banner (sources, pool, ranker, slots) -> the event
log -> rpc (encode). server runs it in processes; client asks it; pages and experiment report what the log proves; demo
does it all in one command.
"""
