"""The wire: what arrives is admitted, checked and decoded, what a banner's stages give is encoded.

registration (the server) -> interceptors (refusals, admission, reading) -> banner_service, candidate_service,
ranker_service, tracking_service (they share `serving`) -> decoding (a message becomes a request in a bundle's
positions) -> gateway.banner -> encoding. refusals are statuses with a reason for programs.
"""
