"""Signed click addresses: what was shown to whom, so that only real slots of real banners can be clicked."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import GatewayError

_MAC_BYTES = 16
_LONGEST = 2_048
_KEY_BYTES = 32


@dataclass(frozen=True)
class Shown:
    """A slot of a logged banner. `shown_s`: seconds since 1970."""

    display_id: str
    user_id: str
    merchant_id: str
    country: str
    item_id: str
    shown_s: int

    def event_id(self, kind: str) -> str:
        """One click and one landing per slot of a display: repeated ones have the same id and count once."""
        text = json.dumps([kind, self.display_id, self.item_id])
        return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


class Signer:
    """HMAC-SHA256, cut to 128 bits, over what was shown."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, shown: Shown) -> str:
        """A text for an address's query."""
        payload = json.dumps(list(vars(shown).values()), ensure_ascii=False, separators=(",", ":")).encode()
        return _text(payload) + "." + _text(self._mac(payload))

    def read(self, token: str) -> Shown:
        """Raises GatewayError if the token is not one of ours."""
        try:
            if len(token) > _LONGEST:
                raise ValueError
            payload, mac = (_bytes(part) for part in token.split("."))
            if not hmac.compare_digest(mac, self._mac(payload)):
                raise ValueError
            return Shown(*json.loads(payload))
        except (ValueError, TypeError, RecursionError):
            raise GatewayError("this address was not signed by this gateway") from None

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")[:_MAC_BYTES]


def read_or_make_key(path: Path) -> bytes:
    """The secret of a file that only its owner reads; made at the first call.

    Raises:
        GatewayError: the file cannot be made or read, or holds something else.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            beside = path.with_name(f".{path.name}.{os.getpid()}")
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(secrets.token_hex(_KEY_BYTES) + "\n")
            with contextlib.suppress(FileExistsError):  # another process made it meanwhile, whole
                os.link(beside, path)
            beside.unlink()
        with path.open("rb") as found:
            key = bytes.fromhex(found.read(4 * _KEY_BYTES).decode("ascii").strip())
    except OSError as error:
        raise GatewayError(f"{path}: expected a file for a secret of this server, found {error.strerror}") from None
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise GatewayError(f"{path}: expected {2 * _KEY_BYTES} hexadecimal digits; remove the file for a new key")
    return key


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
