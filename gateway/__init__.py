"""Online: answer banner requests over gRPC, log them, and report what the log proves.

A request: rpc (admit, read, decode) -> experiment (which population) -> banner (sources, pool, ranker, slots) -> log
-> rpc (encode). server runs it in processes; client asks it; pages and experiment report what the log proves; demo
does it all in one command. limits and wire are what several rooms agree on.
"""
