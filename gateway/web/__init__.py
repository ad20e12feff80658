"""The gateway for browsers and shops: HTTP in front of the gRPC services, in a process of its own.

server (uvicorn) -> app (routes, limits, tokens) -> api (the services as JSON), banner (a banner as HTML), clicks
(signed redirects and landings), shop (an example) -> upstream (the gateway's channels). openapi describes api.
"""
