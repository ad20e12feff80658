"""The wire: what arrives is checked and decoded, what a banner's stages give is encoded.

registration (methods of the four services, unreadable bytes) -> services (one method per call) -> decoding (a message
becomes a request in a bundle's positions) -> gateway.banner -> encoding (the answer, and the log's record of it).
"""
