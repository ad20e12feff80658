"""Who may call: tokens, certificates, rates. Sections of the gRPC gateway and of the HTTP server alike."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from data.settings import Positive, Settings

Method = Literal["banner", "candidates", "similar", "rank", "track", "preview", "ui"]
METHODS: tuple[Method, ...] = ("banner", "candidates", "similar", "rank", "track")
"""Of a token that names none: previews and the pages of `/ui` are for tokens that say so."""


class Token(Settings):
    """A client, or a person who may see `/ui`. `tandem gateway token` makes a token and prints its digest.

    Attributes:
        sha256: of the token, in hexadecimal.
        methods: what the client may call; `preview`: banners that are not logged; `ui`: the pages of `/ui`.
    """

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    methods: tuple[Method, ...] = METHODS


class TlsSettings(Settings):
    """Certificates of a server. Changed files are taken up without a restart.

    Attributes:
        certificate, key: PEM files of the server.
        client_ca: PEM file; with it, clients need a certificate that this authority signed (mutual TLS).
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


class RateSettings(Settings):
    """How often one client may call one worker. A client is a token, or without tokens an address.

    Attributes:
        per_second: calls on average. burst: so many at once.
    """

    per_second: Positive
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = 100
