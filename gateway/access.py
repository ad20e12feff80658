"""Who may call, and how often: bearer tokens of which only the digests are kept, certificates, rates."""

import hashlib
import hmac
import os
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from gateway.errors import GatewayError, RefusalError
from gateway.settings.access import RateSettings, TlsSettings, Token
from gateway.settings.web import UpstreamSettings
from gateway.wire import Reason

TOKEN_VARIABLE = "TANDEM_GATEWAY_TOKEN"
"""Of the environment: the token of a client of the gRPC gateway."""
_CLIENTS = 10_000


class Tokens:
    """Who may call what. Without any token everybody may."""

    def __init__(self, tokens: Mapping[str, Token]) -> None:
        self._tokens = dict(tokens)

    def check(self, authorization: str, *methods: str) -> str:
        """The client's name, from an Authorization header; "" where there are no tokens.

        Raises:
            RefusalError: no known token (UNAUTHENTICATED), or one of other methods (PERMISSION_DENIED).
        """
        if not self._tokens:
            return ""
        kind, _, given = authorization.partition(" ")
        digest = hashlib.sha256(given.strip().encode()).hexdigest() if kind.lower() == "bearer" else ""
        found = [(name, one) for name, one in self._tokens.items() if hmac.compare_digest(one.sha256, digest)]
        if not found:
            raise RefusalError("UNAUTHENTICATED", "expected a known token: Authorization: Bearer ...", Reason.NO_TOKEN)
        name, token = found[0]
        for method in methods:
            if method not in token.methods:
                sentence = f"the token of {name} is not for {method}; expected one that is"
                raise RefusalError("PERMISSION_DENIED", sentence, Reason.NO_TOKEN)
        return name


class Rates:
    """A bucket of calls for each client, filled steadily; the clients that called last are remembered."""

    def __init__(self, settings: RateSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """One call of a client. Raises RefusalError: it has used up its rate."""
        settings, now = self._settings, self._clock()
        left, at = self._buckets.get(client, (float(settings.burst), now))
        left = min(settings.burst, left + (now - at) * settings.per_second)
        if left < 1:
            self._buckets.move_to_end(client)
            sentence = f"more than {settings.per_second:g} calls a second; expected fewer, or wait a moment"
            raise RefusalError("RESOURCE_EXHAUSTED", sentence, Reason.RATE_LIMIT)
        self._buckets[client] = left - 1, now
        self._buckets.move_to_end(client)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)


class Certificates:
    """The files of a server's certificates, read again when they change."""

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        files = (settings.certificate, settings.key, settings.client_ca)
        self._files = [one for one in files if one is not None]
        self._seen: tuple[int, ...] = ()

    def read(self) -> tuple[bytes, bytes, bytes | None]:
        """(certificate, key, authority of clients), once they have been seen to fit. Raises GatewayError."""
        self._seen, settings = self._state(), self._settings
        check_certificates(settings)
        return (
            settings.certificate.read_bytes(),
            settings.key.read_bytes(),
            None if settings.client_ca is None else settings.client_ca.read_bytes(),
        )

    def changed(self) -> bool:
        """Whether a file is another one than when they were read."""
        return self._state() != self._seen

    def _state(self) -> tuple[int, ...]:
        try:
            return tuple(one.stat().st_mtime_ns for one in self._files)
        except OSError:  # between two files; look again
            return self._seen


def check_certificates(settings: TlsSettings) -> None:
    """Raises GatewayError: a file that cannot be read, or a key that is not the certificate's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as error:
        said = f"{settings.certificate} and {settings.key}: expected PEM files of a certificate and its key"
        raise GatewayError(f"{said}, found {error.strerror or error}") from None
    if settings.client_ca is not None:
        try:
            context.load_verify_locations(settings.client_ca)
        except (OSError, ssl.SSLError) as error:
            said = f"{settings.client_ca}: expected a PEM file of certificates"
            raise GatewayError(f"{said}, found {error.strerror or error}") from None


def token_of(settings: UpstreamSettings) -> str:
    """This client's token; "" if it has none. Raises GatewayError: its file cannot be read."""
    if settings.token_file is None:
        return os.environ.get(TOKEN_VARIABLE, "")
    try:
        return settings.token_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise GatewayError(f"{settings.token_file}: expected a token in one line, found {error}") from None
