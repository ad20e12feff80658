"""The section `http`: what the HTTP server is told."""

import ipaddress
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, field_validator, model_validator

from data.settings import Count, Settings
from gateway.settings.access import RateSettings, TlsSettings, Token

Port = Annotated[int, Field(ge=0, le=65535)]
ITEM = "{item_id}"


class UpstreamSettings(Settings):
    """How the HTTP server reaches a gRPC gateway that asks for TLS or a token.

    Attributes:
        ca: PEM file of the authority that signed the gateway's certificate; without it the connection is not encrypted.
        server_name: the name in the gateway's certificate, if it is not the address.
        certificate, key: PEM files of this client, for mutual TLS.
        token_file: holds the token of this client; by default the variable TANDEM_GATEWAY_TOKEN does.
    """

    ca: Path | None = None
    server_name: str = ""
    certificate: Path | None = None
    key: Path | None = None
    token_file: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key: expected both files or neither")
        if self.ca is None and (self.certificate is not None or self.server_name):
            raise ValueError("ca: expected the file of the gateway's authority beside certificate, key or server_name")
        return self


class WebSettings(Settings):
    """Where the server listens, whom it answers, and where items are found.

    Attributes:
        host, port: where it listens. channels: connections to the gRPC gateway.
        gateway: the address of the gRPC gateway; by default the one that these settings describe.
        shop: also serve the catalog as an example shop, at /shop.
        ui: also serve pages about banners, the report, models and traffic, at /ui, to holders of a token.
        public_url: the address browsers reach this server at, if a proxy stands before it; by default the request's.
        item_url: the page of an item, with `{item_id}` in it. item_urls: the same for single merchants.
        currency: printed before prices.
        origins: web pages that may call from a browser, such as https://shop.example.
        tokens: clients of `/v1` and `/ui`, by name. Without any, `/v1` is open, and the server listens on this machine
            only; `/ui` then asks for the token that it keeps in the workspace's `ui.token`.
        certificate, key: PEM files; with both the server speaks TLS. Changed files are taken up without a restart.
        client_ca: PEM file; with it, clients need a certificate that this authority signed (mutual TLS).
        rate: how often one client may call; no limit without it.
        upstream: how the gRPC gateway is reached.
        body_bytes: of a request at most. in_flight: requests at once; one more gets status 503.
        timeout_ms: of a call to the gateway.
        click_days: a click on an older banner leads to the item and is not counted.
    """

    host: str = "127.0.0.1"
    port: Port = 8080
    gateway: str = ""
    shop: bool = False
    ui: bool = False
    channels: Annotated[int, Field(ge=1, le=64)] = 4
    public_url: str = ""
    item_url: str = ""
    item_urls: dict[str, str] = Field(default_factory=dict)
    currency: Annotated[str, Field(max_length=8)] = ""
    origins: tuple[str, ...] = ()
    tokens: dict[str, Token] = Field(default_factory=dict)
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    rate: RateSettings | None = None
    upstream: UpstreamSettings = UpstreamSettings()
    body_bytes: Count = 65_536
    in_flight: Count = 128
    timeout_ms: Count = 1_000
    click_days: Count = 30

    @field_validator("item_url")
    @classmethod
    def _one_item_url(cls, url: str) -> str:
        return _checked_item_url(url) if url else url

    @field_validator("item_urls")
    @classmethod
    def _item_urls(cls, urls: dict[str, str]) -> dict[str, str]:
        return {merchant: _checked_item_url(url) for merchant, url in urls.items()}

    @field_validator("origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for one in origins:
            parts = urlsplit(one)
            if parts.scheme not in ("http", "https") or not parts.netloc or f"{parts.scheme}://{parts.netloc}" != one:
                raise ValueError(f"expected origins such as https://shop.example, found {one!r:.80}")
        return origins

    @field_validator("public_url")
    @classmethod
    def _public_url(cls, url: str) -> str:
        if url and urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"expected an address such as https://banners.shop.example, found {url!r:.80}")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key: expected both files or neither")
        if self.ui and not is_loopback(self.host) and not any("ui" in one.methods for one in self.tokens.values()):
            told = "expected one of this machine only, or a token of method ui, for ui shows users' histories"
            raise ValueError(f"host {self.host}: {told}")
        if not self.tokens and not is_loopback(self.host):
            raise ValueError(f"host {self.host}: expected tokens for clients of /v1, or a host of this machine only")
        return self

    @property
    def tls(self) -> TlsSettings | None:
        if self.certificate is None or self.key is None:
            return None
        return TlsSettings(certificate=self.certificate, key=self.key, client_ca=self.client_ca)

    def item_page(self, merchant_id: str, item_id: str) -> str | None:
        """The address of an item's page; None where none is configured."""
        template = self.item_urls.get(merchant_id) or self.item_url
        return template.replace(ITEM, quote(item_id, safe="")) if template else None


def _checked_item_url(url: str) -> str:
    parts = urlsplit(url)
    local = url.startswith("/") and not url.startswith("//")
    if ITEM not in url or ITEM in parts.netloc or not (local or (parts.scheme in ("http", "https") and parts.netloc)):
        raise ValueError(f"expected an address with {ITEM} in its path, such as https://shop.example/p/{ITEM}")
    if set("{}") & set(url.replace(ITEM, "")):
        raise ValueError(f"expected no braces but those of {ITEM}, found {url!r:.80}")
    return url


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
